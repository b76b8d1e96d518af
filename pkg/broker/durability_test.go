package broker_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/wire"
)

// nodeEnv, when set, makes this test's binary a server of the broker: it holds its broker.Config as JSON.
const nodeEnv = "CARILLON_TEST_NODE"

func TestMain(m *testing.M) {
	if text := os.Getenv(nodeEnv); text != "" {
		if err := node(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	brokertest.VerifyMain(m)
}

// node serves until it is killed.
func node(text string) error {
	var cfg broker.Config
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return err
	}
	b, err := broker.Connect(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer b.Close()
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin) // it ends with the test, too
	return err
}

// nodes starts a server a configuration, each a process, and gives what kills them all at once.
func nodes(t *testing.T, configs []broker.Config) (kill func()) {
	t.Helper()
	var running []*exec.Cmd
	kill = func() {
		for _, cmd := range running {
			_ = cmd.Process.Signal(syscall.SIGKILL) // it may have ended
		}
		for _, cmd := range running {
			_ = cmd.Wait() // killed
		}
		running = nil
	}
	t.Cleanup(func() { kill() })
	var outs []io.Reader
	for _, cfg := range configs {
		text, err := json.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env, cmd.Stderr = append(os.Environ(), nodeEnv+"="+string(text)), os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if _, err := cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running, outs = append(running, cmd), append(outs, out)
	}
	for _, out := range outs {
		if line, err := bufio.NewReader(out).ReadString('\n'); strings.TrimSpace(line) != "ready" {
			t.Fatalf("a server of the broker said %q: %v", line, err)
		}
	}
	return kill
}

// What was accepted is there after all processes are killed at once, at each setting of Sync, on one server and on three.
func TestKillOfAllServersLosesNothing(t *testing.T) {
	t.Parallel()
	for _, replicas := range []int{1, 3} {
		for _, sync := range []broker.Sync{broker.SyncAlways, broker.SyncInterval} {
			t.Run(fmt.Sprintf("R%d %s", replicas, sync), func(t *testing.T) {
				t.Parallel()
				killed(t, replicas, sync)
			})
		}
	}
}

func killed(t *testing.T, replicas int, how broker.Sync) {
	configs := brokertest.Configs(t, replicas)
	var urls []string
	for i := range configs {
		configs[i].Sync = how
		urls = append(urls, "nats://"+configs[i].Listen)
	}
	cfg := broker.Default()
	cfg.URL, cfg.Replicas = strings.Join(urls, ","), replicas
	open := func() *broker.Broker {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		b, err := broker.Open(ctx, cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.EnsureApp(ctx, app); err != nil {
			b.Close()
			t.Fatal(err)
		}
		return b
	}
	const enough = 500 // writes before the kill, which comes between others
	accepted := map[string]uint64{}
	for round := range 2 {
		kill := nodes(t, configs)
		b := open()
		var mu sync.Mutex
		var writers sync.WaitGroup
		reached, stopped := make(chan struct{}), make(chan struct{})
		here := 0
		for w := range 16 {
			writers.Go(func() {
				for i := 0; ; i++ {
					m := account(fmt.Sprintf("r%dw%di%d", round, w, i))
					select { // after the kill nothing answers any more
					case <-stopped:
						return
					default:
					}
					seqs, err := b.Write(wire.AccountsStream(app), m.Once())
					if err != nil {
						return
					}
					mu.Lock()
					accepted[m.Subject] = seqs[0]
					if here++; here == enough {
						close(reached)
					}
					mu.Unlock()
				}
			})
		}
		select { // enough was accepted, or nothing ever is
		case <-reached:
		case <-time.After(time.Minute):
			t.Fatal("the broker takes nothing")
		}
		kill()
		close(stopped)
		b.Close()
		writers.Wait()
	}
	nodes(t, configs)
	b := open()
	defer b.Close()
	var subjects []string
	for s := range accepted {
		subjects = append(subjects, s)
	}
	lost := 0
	for batch := range slices.Chunk(subjects, 500) {
		found, err := b.LastOf(t.Context(), wire.AccountsStream(app), batch)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range batch {
			if m := found[s]; m == nil || m.Seq != accepted[s] {
				lost++
			}
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d accepted writes are lost", lost, len(accepted))
	}
	t.Logf("%d accepted writes, 2 kills of %d servers, %d lost", len(accepted), replicas, lost)
}

// BenchmarkAccept measures the time until a write is accepted, at each setting of Sync, on one server and on three in this
// process, with one writer and with many.
func BenchmarkAccept(b *testing.B) {
	for _, replicas := range []int{1, 3} {
		for _, how := range []broker.Sync{broker.SyncAlways, broker.SyncInterval} {
			for _, writers := range []int{1, 64} {
				b.Run(fmt.Sprintf("R%d/%s/writers=%d", replicas, how, writers), func(b *testing.B) {
					set := func(c *broker.Config) { c.Sync = how }
					var to *broker.Broker
					if replicas == 1 {
						to = brokertest.Start(b, set)
					} else {
						to = brokertest.Cluster(b, set).Broker(0)
					}
					accept(b, to, writers)
				})
			}
		}
	}
}

func accept(b *testing.B, to *broker.Broker, writers int) {
	if err := to.EnsureApp(b.Context(), app); err != nil {
		b.Fatal(err)
	}
	took := make([]time.Duration, b.N)
	next := make(chan int, writers)
	var all sync.WaitGroup
	b.ResetTimer()
	begun := time.Now()
	for range writers {
		all.Go(func() {
			for i := range next {
				m := account(fmt.Sprint("u", i))
				m.Data = make([]byte, 300)
				at := time.Now()
				if _, err := to.Write(wire.AccountsStream(app), m.Once()); err != nil {
					b.Error(err)
				}
				took[i] = time.Since(at)
			}
		})
	}
	for i := range b.N {
		next <- i
	}
	close(next)
	all.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/time.Since(begun).Seconds(), "writes/s")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
