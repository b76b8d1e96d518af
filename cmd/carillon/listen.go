package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
)

func listenCommand() *cobra.Command {
	var of appFlags
	var account, url string
	c := &cobra.Command{
		Use:   "listen --as ACCOUNT",
		Short: "Log in as a user and show the pushes that come, until interrupted",
		Long: `Log in as a user and show the pushes that come, until interrupted. Each is acknowledged when it has been shown.
The key of the app is taken from the configuration, or from the development app's file under data.`,
		Args: cobra.NoArgs,
	}
	of.register(c)
	c.Flags().StringVar(&account, "as", "", "The account to log in as; a first login creates it.")
	c.Flags().StringVar(&url, "url", "", "The base of the sessions, such as wss://push.example.com. Empty: sessions.listen of the configuration.")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if account == "" {
			return errors.New("say who to log in as, with --as ACCOUNT")
		}
		if err := push.ValidAccount(account); err != nil {
			return err
		}
		cfg, a, err := of.load(c)
		if err != nil {
			return err
		}
		if url == "" {
			url = "ws://" + cfg.Sessions.Listen
		}
		out := c.OutOrStdout()
		session := &client.Session{
			URLs: []string{url}, App: a.SDKAppID, Account: account, Platform: "Linux",
			Sig: func(context.Context) (string, error) {
				return usersig.Sign(a.Key, a.SDKAppID, account, time.Now(), time.Hour, nil)
			},
			OnPush: func(p client.Push) {
				late := time.Since(p.At).Round(time.Millisecond)
				fmt.Fprintf(out, "%s push %s from %s, %s after it was accepted: %s\n", clock(time.Now()), p.ID, p.From, late, p.Body)
			},
			OnRevoke: func(r client.Revoke) {
				fmt.Fprintf(out, "%s push %s was revoked\n", clock(time.Now()), r.ID)
			},
			OnState: func(state client.State) {
				switch state := state.(type) {
				case client.Open:
					fmt.Fprintf(out, "%s listening as %s at %s, %d pending\n", clock(time.Now()), account, url, state.Pending)
				case client.Waiting:
					fmt.Fprintf(out, "%s disconnected (%v), trying again in %s\n", clock(time.Now()), state.Err, state.Pause.Round(time.Millisecond))
				}
			},
		}
		if err := session.Listen(c.Context()); !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	}
	return c
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }
