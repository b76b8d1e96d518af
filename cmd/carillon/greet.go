package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/pkg/usersig"
)

// greet says where the service is and, for the development app, how to make the first call.
func greet(w io.Writer, a *app.App, cfg *config.Config, development bool) {
	of := cfg.Apps[0]
	fmt.Fprintf(w, "\nCarillon is ready: REST %s, sessions %s\n", a.URL(), a.SessionsURL())
	if !development {
		return
	}
	sig, err := usersig.Sign(of.Key, of.SDKAppID, of.Admins[0], time.Now(), 24*time.Hour, nil)
	if err != nil {
		fmt.Fprintln(w, err)
		return
	}
	fmt.Fprintf(w, `
No apps are configured, so there is a development app, %d, reachable from this machine only.
In another terminal, watch what the user u1 gets:

  %s

and in a third, push to everyone (the signature is good for a day):

  curl '%s/v4/all_member_push/im_push?sdkappid=%d&identifier=%s&random=1&contenttype=json&usersig=%s' \
    -d '{"MsgRandom": 1, "MsgLifeTime": 3600, "MsgBody": [{"MsgType": "TIMTextElem", "MsgContent": {"Text": "hello"}}]}'

`, of.SDKAppID, listenLine(a, cfg), a.URL(), of.SDKAppID, of.Admins[0], sig)
}

// listenLine is how this very binary listens to this very process.
func listenLine(a *app.App, cfg *config.Config) string {
	line := os.Args[0] + " listen --as u1"
	if standard := config.Default(); cfg.Data != standard.Data {
		line += " --data " + cfg.Data
	}
	if url := a.SessionsURL(); url != "ws://"+config.Default().Sessions.Listen {
		line += " --url " + url
	}
	return line
}
