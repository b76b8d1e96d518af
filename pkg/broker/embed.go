package broker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"
)

// maxPayload bounds a message: a shard's bitmap is at most 128 KiB, two of them are a receipt.
const maxPayload = 1 << 20

// syncInterval is SyncInterval's.
const syncInterval = time.Second

// embed starts a server in this process.
func embed(ctx context.Context, cfg Config, log *slog.Logger) (*server.Server, error) {
	opts := &server.Options{
		ServerName: "carillon", JetStream: true, StoreDir: cfg.Dir, SyncAlways: cfg.Sync == SyncAlways, SyncInterval: syncInterval,
		NoSigs: true, DisableJetStreamBanner: true, DontListen: cfg.Listen == "",
		MaxPayload: maxPayload, JetStreamMaxMemory: 1 << 30, JetStreamMaxStore: cfg.StoreLimit,
	}
	if cfg.StoreLimit == 0 {
		opts.JetStreamMaxStore = 1 << 50 // the disk is the limit, not the server's guess at a share of it
	}
	cfg.Auth.ask(opts)
	secure, err := cfg.TLS.server()
	if err != nil {
		return nil, err
	}
	if opts.TLSConfig = secure; secure != nil {
		opts.TLS, opts.TLSVerify, opts.TLSTimeout = true, cfg.TLS.CA != "", tlsTimeout
	}
	if cfg.Listen != "" {
		if opts.Host, opts.Port, err = hostPort("nats.listen", cfg.Listen); err != nil {
			return nil, err
		}
	}
	if cfg.Cluster.Set() {
		if err := cfg.join(opts, secure); err != nil {
			return nil, err
		}
	}
	if err := electionsOf(cfg.ElectionTimeout).elect(); err != nil {
		return nil, err
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("make the embedded broker: %w", err)
	}
	srv.SetLoggerV2(serverLog{log.With("component", "nats")}, false, false, false)
	srv.Start()
	wait := time.Minute // recovering a large store takes a while
	if d, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(d))
	}
	if !srv.ReadyForConnections(wait) {
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, fmt.Errorf("the embedded broker in %s was not ready after %v", cfg.Dir, wait)
	}
	return srv, nil
}

// serverLog gives the embedded server's log to slog. Its notices are about itself, so they are debug here.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Noticef(f string, v ...any) { l.log.Debug(fmt.Sprintf(f, v...)) }
func (l serverLog) Warnf(f string, v ...any)   { l.log.Warn(fmt.Sprintf(f, v...)) }
func (l serverLog) Fatalf(f string, v ...any)  { l.log.Error(fmt.Sprintf(f, v...)) }
func (l serverLog) Errorf(f string, v ...any)  { l.log.Error(fmt.Sprintf(f, v...)) }
func (l serverLog) Debugf(f string, v ...any)  { l.log.Debug(fmt.Sprintf(f, v...)) }
func (l serverLog) Tracef(f string, v ...any)  { l.log.Debug(fmt.Sprintf(f, v...)) }

// dirLock keeps a second server from a data directory: two on one would both start, and spoil it. The kernel frees it
// with the process, however that ends.
type dirLock struct{ f *os.File }

func lockDir(dir string) (*dirLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%w: %s", ErrLocked, dir)
	}
	return &dirLock{f}, nil
}

func (l *dirLock) release() { l.f.Close() }

// ListenURL is where other processes reach the embedded server; empty when they do not.
func (b *Broker) ListenURL() string {
	if b.srv == nil || b.cfg.Listen == "" {
		return ""
	}
	return "nats://" + b.srv.Addr().String()
}
