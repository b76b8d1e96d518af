package ingest

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
)

// sdk is one file of testdata/sdk: the calls of a server SDK that others wrote for the protocol, in the shapes in which it
// sends them. Only the shapes are its own; the values are made up.
type sdk struct {
	Comment struct{ SDK, Version, Note string }
	Query   string // what it has in the URL beside the contract's parameters
	Calls   []struct {
		Command string
		Body    json.RawMessage
	}
}

// Contract: a server SDK that was written for the protocol works unchanged.
func TestRequestsOfSDKs(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/sdk/*.json")
	if err != nil || len(files) < 2 {
		t.Fatalf("%d SDKs, %v", len(files), err)
	}
	called := map[string]bool{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var s sdk
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if s.Comment.SDK == "" || s.Comment.Version == "" {
			t.Errorf("%s does not say whose requests it holds", file)
		}
		for _, c := range s.Calls {
			called[c.Command] = true
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			a := serveAPI(t, brokertest.Start(t))
			for _, c := range s.Calls {
				path := "/v4/" + c.Command + "?" + a.query(nil) + "&" + s.Query
				if r := a.do(http.MethodPost, path, string(c.Body)); r.ErrorCode != codeOK {
					t.Errorf("%s %s: %s", c.Command, c.Body, r.Raw)
				}
			}
		})
	}
	for _, c := range (&Ingest{}).table() {
		if name := c.service + "/" + c.name; !called[name] && c.service != "timpush" { // younger than the SDKs
			t.Errorf("no SDK calls %s", name)
		}
	}
}
