package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// subcommand is the first argument of a process that is one of ours; its second says which.
const subcommand = "notify-child"

// Child must be called first by main, and by TestMain: in a process that this package has started it plays its part and
// exits, in any other it does nothing.
func Child() {
	if len(os.Args) < 3 || os.Args[1] != subcommand {
		return
	}
	play := map[string]func(in *json.Decoder, out *json.Encoder) error{vendorsPart: answer, workerPart: work}[os.Args[2]]
	if play == nil {
		fmt.Fprintf(os.Stderr, "%s: no such part of the measurement\n", os.Args[2])
		os.Exit(1)
	}
	if err := play(json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// endWait is how long a process may take to end once its input has.
const endWait = 10 * time.Second

// process is this binary again, in one of its parts. It reads and writes JSON values, and ends when its input does.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	say    *json.Encoder
	hear   *json.Decoder
	errors bytes.Buffer
}

func spawn(ctx context.Context, part string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this binary: %w", err)
	}
	p := &process{cmd: exec.CommandContext(ctx, self, subcommand, part)}
	p.cmd.Stderr = &p.errors
	p.cmd.WaitDelay = endWait
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		p.in, err = p.cmd.StdinPipe()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start a process for %s: %w", part, err)
	}
	p.say, p.hear = json.NewEncoder(p.in), json.NewDecoder(out)
	return p, nil
}

// heard reads what the process says next. Its end, with which that of ctx comes too, ends it.
func (p *process) heard(v any) error {
	if err := p.hear.Decode(v); err != nil {
		return fmt.Errorf("listen to the process for %s: %w", p.cmd.Args[2], err)
	}
	return nil
}

// stop ends the process and waits for it. Its error holds what the process said last.
func (p *process) stop() error {
	err := p.in.Close()
	kill := time.AfterFunc(endWait, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	if waited := p.cmd.Wait(); waited != nil {
		err = errors.Join(err, fmt.Errorf("%s: %w: %s", p.cmd.Args[2], waited, bytes.TrimSpace(p.errors.Bytes())))
	}
	return err
}

// untilEnd waits for the end of a process's input.
func untilEnd(in *json.Decoder) {
	var rest json.RawMessage
	for in.Decode(&rest) == nil { // what is sent wakes it, the end of the input ends it
	}
}
