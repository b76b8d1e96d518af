// Command sdktest is the service for the tests of an SDK that is not written in Go: the whole of it in one process, on free
// ports and in a directory that is gone afterwards, steered over standard input and output.
//
// It writes one JSON object a line. The first says where it is:
//
//	{"rest":"http://…","sessions":"ws://…","sdkappid":1400000001,"admin":"administrator","apiKey":"…"}
//
// Then it answers each line that it reads, in order, with the same id, and with an error, in a sentence, if there was one:
//
//	{"id":1,"do":"usersig","account":"u1","expire":3600}   {"id":1,"usersig":"…"}   expire in seconds; below zero: expired already
//	{"id":2,"do":"stop"}                                   {"id":2}                 as by SIGTERM
//	{"id":3,"do":"start"}                                  {"id":3}                 on the same ports, with the same data
//
// It ends when its input does.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if err := run(context.Background(), os.Stdin, os.Stdout, log); err != nil {
		fmt.Fprintln(os.Stderr, "sdktest:", err)
		os.Exit(1)
	}
}

// place is the first line of the output.
type place struct {
	REST     string     `json:"rest"`
	Sessions string     `json:"sessions"`
	App      push.AppID `json:"sdkappid"`
	Admin    string     `json:"admin"`
	APIKey   string     `json:"apiKey"`
}

// request is a line of the input.
type request struct {
	ID      int    `json:"id"`
	Do      string `json:"do"`
	Account string `json:"account"`
	Expire  int    `json:"expire"` // seconds
}

// answer is a line of the output.
type answer struct {
	ID      int    `json:"id"`
	UserSig string `json:"usersig,omitempty"`
	Error   string `json:"error,omitempty"`
}

// maxLine bounds a line of the input in bytes.
const maxLine = 64 << 10

// run serves until in ends.
func run(ctx context.Context, in io.Reader, out io.Writer, log *slog.Logger) (err error) {
	dir, err := os.MkdirTemp("", "carillon-sdktest-")
	if err != nil {
		return fmt.Errorf("make a directory for the service: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := newService(dir, log)
	if err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }() // before the directory goes
	lines := json.NewEncoder(out)
	if err := lines.Encode(s.place()); err != nil {
		return fmt.Errorf("say where the service is: %w", err)
	}
	requests := bufio.NewScanner(in)
	requests.Buffer(nil, maxLine)
	for requests.Scan() {
		var r request
		a := answer{}
		if err := json.Unmarshal(requests.Bytes(), &r); err != nil {
			a.Error = fmt.Sprintf("a request is not what it should be: %v", err)
		} else {
			a = s.answer(ctx, r)
		}
		if err := lines.Encode(a); err != nil {
			return fmt.Errorf("answer a request: %w", err)
		}
	}
	if err := requests.Err(); err != nil {
		return fmt.Errorf("read requests: %w", err)
	}
	return nil
}

// answer does what a request says.
func (s *service) answer(ctx context.Context, r request) answer {
	a := answer{ID: r.ID}
	var err error
	switch r.Do {
	case "usersig":
		life := time.Duration(r.Expire) * time.Second
		now := time.Now()
		if life < 0 { // a signature is for a time that begins; this one has ended
			now, life = now.Add(2*life), -life
		}
		a.UserSig, err = usersig.Sign(s.key, appID, r.Account, now, life, nil)
	case "stop":
		err = s.stop()
	case "start":
		err = s.start(ctx)
	default:
		err = fmt.Errorf("%q is nothing that can be done", r.Do)
	}
	if err != nil {
		a.Error = err.Error()
	}
	return a
}
