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
		sig, err := usersig.Sign(a.Key, a.SDKAppID, account, time.Now(), 7*24*time.Hour, nil)
		if err != nil {
			return err
		}
		out := c.OutOrStdout()
		err = client.Session{
			URL: url, App: a.SDKAppID, Account: account, UserSig: sig, Platform: "Linux",
			OnHello: func(pending int) {
				fmt.Fprintf(out, "%s listening as %s at %s, %d pending\n", clock(time.Now()), account, url, pending)
			},
			OnPush: func(p client.Push) {
				late := time.Since(p.At).Round(time.Millisecond)
				fmt.Fprintf(out, "%s push %s from %s, %s after it was accepted: %s\n", clock(time.Now()), p.ID, p.From, late, p.Body)
			},
			OnDown: func(err error, pause time.Duration) {
				fmt.Fprintf(out, "%s disconnected (%v), trying again in %s\n", clock(time.Now()), err, pause.Round(time.Millisecond))
			},
		}.Listen(c.Context())
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	}
	return c
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }
