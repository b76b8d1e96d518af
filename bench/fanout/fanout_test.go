package fanout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	Child()
	// Children of a test under the race detector would each wait a second at their end.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// few is a run that takes no time; what it measures means nothing.
func few() Options {
	o := Default()
	o.Sessions, o.Rounds, o.Repeats = 40, 12, 2
	return o
}

func TestRun(t *testing.T) {
	t.Parallel()
	r, err := Run(t.Context(), few())
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]Spread{
		"bare rate": r.Bare.PerCPUSecond, "candidate's rate": r.Candidate.PerCPUSecond, "ratio": r.Ratio,
		"bare round": r.Bare.RoundMillis, "candidate's round": r.Candidate.RoundMillis,
	} {
		if s.Min <= 0 || s.Median < s.Min || s.Max < s.Median {
			t.Errorf("%s: %+v", name, s)
		}
	}
	b, err := json.Marshal(r)
	if err != nil || !bytes.Contains(b, []byte(`"messages_per_cpu_second":{"median":`)) {
		t.Errorf("as JSON: %s, %v", b, err)
	}
	if text := r.String(); !strings.Contains(text, "bare sendto") || !strings.Contains(text, "deliver/socket") {
		t.Errorf("as text: %s", text)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := Default().Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
	_, err := Run(t.Context(), Options{Sessions: 1 << 30})
	for _, want := range []string{"sessions", "rounds", "message", "candidate"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("nothing is said of the %s: %v", want, err)
		}
	}
}

// broken is a candidate that fails at a step, and is the sockets otherwise.
type broken struct {
	child
	at string
}

type brokenServer struct {
	Server
	at string
}

var errBroken = errors.New("broken on purpose")

func (b broken) Start(ctx context.Context, message []byte) (Server, error) {
	if b.at == "start" {
		return nil, errBroken
	}
	s, err := b.child.Start(ctx, message)
	return brokenServer{Server: s, at: b.at}, err
}

func (b brokenServer) Path(i int) string {
	if b.at == "path" {
		return "/\r\n\r\n"
	}
	return b.Server.Path(i)
}

func (b brokenServer) Round(ctx context.Context) error {
	switch b.at {
	case "round":
		return errBroken
	case "twice":
		return errors.Join(b.Server.Round(ctx), b.Server.Round(ctx))
	}
	return b.Server.Round(ctx)
}

// TestBroken shows that a candidate's failure is the run's, and leaves nothing behind.
func TestBroken(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"start", "path", "round", "twice"} {
		o := few()
		o.Candidate = broken{child{Sockets().Name()}, at}
		if r, err := Run(t.Context(), o); err == nil {
			t.Errorf("broken at %s: %+v", at, r)
		}
	}
	o := few()
	o.Candidate = child{"no such part"}
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "no such part") {
		t.Errorf("without a server: %v", err)
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, few()); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context's end: %v", err)
	}
}

func TestMessage(t *testing.T) {
	t.Parallel()
	for _, size := range []int{minMessage, 300, 4096} {
		m := message(size)
		if len(m) != size || !json.Valid(m) || bytes.Count(m, []byte{mark}) != 1 {
			t.Errorf("of %d bytes: %s", size, m)
		}
	}
}

// TestCarillon shows that a message comes through the whole service to each session, once a round.
func TestCarillon(t *testing.T) {
	t.Parallel()
	o := few()
	o.Repeats, o.Candidate = 1, Carillon(o.Sessions)
	r, err := Run(t.Context(), o)
	if err != nil || r.Candidate.PerCPUSecond.Median <= 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// The runs that Default describes; their figures are the result's, not the time of the whole.
func BenchmarkFanOut(b *testing.B) { benchmark(b, Default()) }
func BenchmarkCarillon(b *testing.B) {
	o := Default()
	o.Candidate = Carillon(o.Sessions)
	benchmark(b, o)
}

func benchmark(b *testing.B, o Options) {
	for b.Loop() {
		r, err := Run(b.Context(), o)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(r.Candidate.PerCPUSecond.Median, "msg/cpu-s")
		b.ReportMetric(r.Ratio.Median, "of-bare")
		b.ReportMetric(r.Candidate.RSSPerSession.Median, "B/session")
		b.Logf("\n%v", r)
	}
}
