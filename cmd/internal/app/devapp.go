package app

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/carillon-push/carillon/cmd/internal/config"
)

// The development app, for a start without configuration.
const (
	DevelopmentApp   = 1400000001
	DevelopmentAdmin = "administrator"
	developmentKey   = "development.key"
)

// Development gives a configuration without apps the development app, whose random key is kept under data. It is refused
// where others than this machine could reach it.
func Development(cfg *config.Config) error {
	for name, address := range map[string]string{"http.listen": cfg.HTTP.Listen, "sessions.listen": cfg.Sessions.Listen, "admin.listen": cfg.Admin.Listen} {
		if address == "" {
			continue // admin.listen, when it is http.listen's too
		}
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return fmt.Errorf("%s is %s, which others can reach: set apps, since the development app is for this machine only", name, address)
		}
	}
	key, err := loadKey(filepath.Join(cfg.Data, developmentKey))
	if err != nil {
		return err
	}
	cfg.Apps = []config.App{{
		SDKAppID: DevelopmentApp, Key: key, Admins: []string{DevelopmentAdmin},
	}}
	return nil
}

// loadKey reads the key, or makes one that only this user can read.
func loadKey(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err == nil {
		if key := strings.TrimSpace(string(raw)); key != "" {
			return key, nil
		}
		return "", fmt.Errorf("the development app's key in %s is empty: delete the file to have a new one made", path)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read the development app's key: %w", err)
	}
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	key := hex.EncodeToString(b[:])
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("make the data directory: %w", err)
	}
	if err := os.WriteFile(path, []byte(key+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep the development app's key: %w", err)
	}
	return key, nil
}
