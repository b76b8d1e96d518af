package native

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/wire"
)

type deviceList struct{ Devices []device }

type devicesCreated struct {
	Registered int
	Refused    []refusedDevice
}

func TestDevices(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t))
	for _, u := range []string{"alice", "bob"} {
		ok[account](a, 201, "PUT", "/v1/accounts/"+u, "")
	}
	got := ok[devicesCreated](a, 200, "POST", "/v1/devices", `{"devices":[
		{"account":"alice","channel":"apns","token":"secret 1","device":"phone","platform":"iOS"},
		{"account":"nobody","channel":"apns","token":"secret 2"},
		{"account":"alice","channel":"A","token":"secret 3"},
		{"account":"bob","channel":"fcm","token":"secret 4"},
		{"account":"bob","channel":"fcm","token":"secret 5","device":"\u0007"}]}`)
	if got.Registered != 2 || len(got.Refused) != 3 || got.Refused[0].Index != 1 || got.Refused[0].Code != codeAccount ||
		got.Refused[1].Index != 2 || got.Refused[1].Code != codeField || got.Refused[2].Index != 4 || got.Refused[2].Code != codeField {
		t.Errorf("%+v", got)
	}
	if s := fmt.Sprint(got); strings.Contains(s, "secret") {
		t.Errorf("a token is in the answer: %s", s)
	}
	list := ok[deviceList](a, 200, "GET", "/v1/accounts/alice/devices", "").Devices
	if len(list) != 1 || list[0].Device != "phone" || list[0].Channel != "apns" || list[0].Platform != "iOS" || time.Since(list[0].Seen) > time.Minute {
		t.Errorf("alice has %+v", list)
	}
	ok[account](a, 201, "PUT", "/v1/accounts/%FF", "")
	if got := ok[devicesCreated](a, 200, "POST", "/v1/devices", `{"devices":[{"accountBase64":"/w==","channel":"fcm","token":"secret 6"}]}`); got.Registered != 1 {
		t.Errorf("%+v", got)
	}
	// The token moves to who registers it last, and has its hash for a name.
	ok[devicesCreated](a, 200, "POST", "/v1/devices", `{"devices":[{"account":"bob","channel":"apns","token":"secret 1"}]}`)
	if list := ok[deviceList](a, 200, "GET", "/v1/accounts/alice/devices", "").Devices; len(list) != 0 {
		t.Errorf("alice still has %+v", list)
	}
	hash := wire.TokenHash("apns", "secret 1")
	ok[struct{}](a, 204, "DELETE", "/v1/accounts/bob/devices/"+hash, "")
	ok[struct{}](a, 204, "DELETE", "/v1/accounts/bob/devices/"+hash, "")
	if list := ok[deviceList](a, 200, "GET", "/v1/accounts/bob/devices", "").Devices; len(list) != 1 || list[0].Channel != "fcm" {
		t.Errorf("bob has %+v", list)
	}
}

func TestManyDevicesOfOneAccountKeepTheirOrder(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t))
	ok[account](a, 201, "PUT", "/v1/accounts/u", "")
	var all []string
	for i := range 200 {
		all = append(all, fmt.Sprintf(`{"account":"u","channel":"fcm","token":"%d","device":"the same"}`, i))
	}
	if got := ok[devicesCreated](a, 200, "POST", "/v1/devices", `{"devices":[`+strings.Join(all, ",")+`]}`); got.Registered != 200 {
		t.Errorf("%+v", got)
	}
	if list := ok[deviceList](a, 200, "GET", "/v1/accounts/u/devices", "").Devices; len(list) != 1 {
		t.Errorf("%+v", list)
	}
}

func TestDevicesRefuse(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t))
	long := strings.Repeat("x", wire.MaxTokenLen+1)
	for _, c := range []struct{ body, code, at string }{
		{`{}`, codeMissing, "/devices"},
		{`{"devices":{}}`, codeField, "/devices"},
		{`{"devices":[1]}`, codeField, "/devices/0"},
		{`{"devices":[{"channel":"fcm","token":"t"}]}`, codeMissing, "/devices/0/account"},
		{`{"devices":[{"account":"u","accountBase64":"dQ==","channel":"fcm","token":"t"}]}`, codeField, "/devices/0/account"},
		{`{"devices":[{"accountBase64":"u","channel":"fcm","token":"t"}]}`, codeField, "/devices/0/accountBase64"},
		{`{"devices":[{"account":"u","token":"t"}]}`, codeMissing, "/devices/0/channel"},
		{`{"devices":[{"account":"u","channel":"fcm"}]}`, codeMissing, "/devices/0/token"},
		{`{"devices":[{"account":"u","channel":"fcm","token":""}]}`, codeField, "/devices/0/token"},
		{`{"devices":[{"account":"u","channel":"fcm","token":"` + long + `"}]}`, codeField, "/devices/0/token"},
		{`{"devices":[{"account":"u","channel":"fcm","token":"t","seen":1}]}`, codeUnknownField, "/devices/0/seen"},
		{`{"devices":[` + strings.Repeat("0,", maxDevices) + `0]}`, codeField, "/devices"},
	} {
		res := a.do("POST", "/v1/devices", c.body)
		if res.problem.Code != c.code || res.problem.Pointer == nil || *res.problem.Pointer != c.at {
			t.Errorf("%.100s: %d %s, want %s at %s", c.body, res.StatusCode, res.raw, c.code, c.at)
		}
	}
	a.refused(404, codeAccount, "-", "GET", "/v1/accounts/nobody/devices", "")
	a.refused(404, codeAccount, "-", "DELETE", "/v1/accounts/nobody/devices/x", "")
}
