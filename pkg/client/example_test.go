package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/coder/websocket"

	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/wire"
)

// exampleService stands for wss://push.example.com: it has a push for everybody who logs in, answers im_push, and passes on
// what clients say.
func exampleService() (srv *httptest.Server, said chan string) {
	said = make(chan string, 16)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v4/all_member_push/im_push", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"TaskId":"1400000001-42"}`)
	})
	mux.HandleFunc("DELETE /v1/pushes/{id}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"id":"`+r.PathValue("id")+`","state":"revoked","audience":9,"received":2,"sent":1,"withheld":6}`)
	})
	mux.HandleFunc("GET /v1/session", func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow() //nolint:errcheck // over in any case
		for _, frame := range []string{
			`{"t":"hello","session":"s1","heartbeat":60,"pending":1}`,
			`{"t":"push","id":"1400000001-42","seq":42,"from":"news","at":1700000000123,"expire":1700000120,"body":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"hello"}}]}`,
		} {
			if c.Write(r.Context(), websocket.MessageText, []byte(frame)) != nil {
				return
			}
		}
		for {
			_, data, err := c.Read(context.Background())
			if err != nil {
				return
			}
			said <- string(data)
			if f, err := wire.DecodeClientFrame(data); err == nil && f.Type == wire.FrameLogout {
				_ = c.Close(websocket.StatusNormalClosure, "logged out")
			}
		}
	})
	return httptest.NewServer(mux), said
}

// A user is logged in until the program ends.
func Example_listen() {
	service, _ := exampleService()
	defer service.Close()
	ctx, stop := context.WithCancel(context.Background()) // signal.NotifyContext, in a program

	s := &client.Session{
		URLs: []string{service.URL}, // such as "wss://push.example.com"
		App:  1400000001, Account: "alice", Platform: "Linux",
		Sig: func(context.Context) (string, error) {
			return "a UserSig, which the app's own server makes", nil
		},
		OnPush: func(p client.Push) {
			fmt.Printf("%s from %s: %s\n", p.ID, p.From, p.Text())
			stop()
		},
		OnState: func(state client.State) {
			if open, ok := state.(client.Open); ok {
				fmt.Println("logged in,", open.Pending, "pending")
			}
		},
	}
	err := s.Listen(ctx)
	var refused *client.Refused
	if errors.As(err, &refused) {
		fmt.Println("the user must log in again:", refused)
	}
	fmt.Println(err)
	// Output:
	// logged in, 1 pending
	// 1400000001-42 from news: hello
	// context canceled
}

// A phone registers for its vendor's pushes, reports what was opened, and logs out.
func Example_device() {
	service, said := exampleService()
	defer service.Close()

	s := &client.Session{
		URLs: []string{service.URL}, App: 1400000001, Account: "alice", UserSig: "…",
		Platform: "iOS", Device: "5a7c2e90-0a11-4f6e-9d0b-6a3d1f0c9b11", // made at the first start, and kept
		Gather: 10 * time.Millisecond, // a second, unless the app wants its acknowledgements sooner
		OnPush: func(client.Push) {},
	}
	if err := s.RegisterDevice("apns", "a1b2c3"); err != nil { // at any time, from any goroutine
		fmt.Println(err)
		return
	}
	ended := make(chan error)
	go func() { ended <- s.Listen(context.Background()) }()
	fmt.Println(<-said)
	fmt.Println(<-said)

	s.Opened(42)
	fmt.Println(<-said)

	s.Logout() // which forgets the device
	fmt.Println(<-said)
	fmt.Println(<-ended)
	// Output:
	// {"t":"device","channel":"apns","token":"a1b2c3"}
	// {"t":"ack","seq":[42]}
	// {"t":"opened","seq":[42]}
	// {"t":"logout"}
	// <nil>
}

// An operator pushes to everybody with a tag, and takes it back.
func ExampleREST_Push() {
	service, _ := exampleService()
	defer service.Close()
	ctx := context.Background()

	operator := &client.REST{
		URL: service.URL, // such as "https://push.example.com"
		App: 1400000001, Admin: "administrator", Key: "the app's key",
	}
	message := client.NewMessage(client.Text("hello"))
	message.LifeTime = 24 * 60 * 60 // for who is offline now
	message.Condition = &client.Condition{TagsOr: []string{"news"}}
	id, err := operator.Push(ctx, message)
	var refused *client.Error
	if errors.As(err, &refused) {
		fmt.Println("the service says", refused.Code, refused.Info)
		return
	}
	fmt.Println(id, err)

	taken, err := operator.Revoke(ctx, id)
	fmt.Println(taken.State, "withheld from", taken.Withheld, "of", taken.Audience, err)
	// Output:
	// 1400000001-42 <nil>
	// revoked withheld from 6 of 9 <nil>
}
