package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
)

// appFlags choose an app of the configuration.
type appFlags struct{ sdkappid uint32 }

func (f *appFlags) register(c *cobra.Command) {
	config.RegisterFlags(c.Flags())
	c.Flags().Uint32Var(&f.sdkappid, "sdkappid", 0, "The app. 0: the only one of the configuration, or the development app.")
}

// load gives the configuration and the chosen app.
func (f *appFlags) load(c *cobra.Command) (*config.Config, config.App, error) {
	cfg, err := config.Load(c.Flags(), os.Environ())
	if err != nil {
		return nil, config.App{}, err
	}
	if len(cfg.Apps) == 0 {
		if err := app.Development(cfg); err != nil {
			return nil, config.App{}, err
		}
	}
	if f.sdkappid == 0 && len(cfg.Apps) > 1 {
		return nil, config.App{}, fmt.Errorf("the configuration has %d apps: choose one with --sdkappid", len(cfg.Apps))
	}
	for _, a := range cfg.Apps {
		if f.sdkappid == 0 || a.SDKAppID == push.AppID(f.sdkappid) {
			return cfg, a, nil
		}
	}
	return nil, config.App{}, fmt.Errorf("the configuration has no app %d", f.sdkappid)
}

func usersigCommand() *cobra.Command {
	var of appFlags
	var ttl time.Duration
	c := &cobra.Command{
		Use:     "usersig ACCOUNT",
		Short:   "Make a UserSig with which an account calls the REST interface or logs in",
		Example: "  carillon usersig administrator\n  carillon usersig u1 --ttl 720h --config carillon.yaml",
		Args:    cobra.ExactArgs(1),
	}
	of.register(c)
	c.Flags().DurationVar(&ttl, "ttl", 24*time.Hour, "How long the signature is valid.")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := push.ValidAccount(args[0]); err != nil {
			return err
		}
		if ttl < time.Second {
			return errors.New("--ttl must be at least 1s")
		}
		_, a, err := of.load(c)
		if err != nil {
			return err
		}
		sig, err := usersig.Sign(a.Key, a.SDKAppID, args[0], time.Now(), ttl, nil)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.OutOrStdout(), sig)
		return err
	}
	return c
}
