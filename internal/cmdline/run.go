package cmdline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// Streams is what a command works with besides its arguments.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// LookupEnv finds a variable of the environment.
	LookupEnv func(string) (string, bool)
	// Now is the clock.
	Now func() time.Time
	// Signals end a command: the first one in order, the next at once.
	Signals <-chan os.Signal
}

// Process returns the process's own streams.
func Process() Streams {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// A pipe that nobody reads from is an error like any other, so that cleanup happens.
	signal.Ignore(syscall.SIGPIPE)
	return Streams{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		LookupEnv: os.LookupEnv, Now: time.Now, Signals: signals,
	}
}

// Getenv returns a variable of the environment, or "".
func (s Streams) Getenv(name string) string {
	value, _ := s.LookupEnv(name)
	return value
}

// Print writes what was asked for to standard output.
func (s Streams) Print(text string) error {
	if _, err := io.WriteString(s.Out, text); err != nil {
		return fmt.Errorf("write to standard output: %w", OutputError(err))
	}
	return nil
}

// PrintJSON writes a JSON document to standard output, unless making it failed.
func (s Streams) PrintJSON(data []byte, err error) error {
	if err != nil {
		return err
	}
	return s.Print(string(data) + "\n")
}

// ErrInterrupted says that a signal ended the command.
var ErrInterrupted = errors.New("interrupted")

// graceTime is how long a command may take to clean up after a signal.
const graceTime = 1500 * time.Millisecond

// Run runs a command to its end, or to a signal's. It sets s.In to standard input
// that ends with the command's context.
func (s *Streams) Run(command func(context.Context) error) error {
	s.beFrugal()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	s.In = &interruptible{ctx, s.In}
	done := make(chan error, 1)
	go func() { done <- command(ctx) }()
	select {
	case err := <-done:
		return err
	case <-s.Signals:
	}
	cancel(ErrInterrupted)
	select {
	case ended := <-done:
		if ended == nil { // everything was done when the signal came
			return nil
		}
	case <-s.Signals:
	case <-time.After(graceTime): // something waits that cannot be interrupted
	}
	return ErrInterrupted
}

// Execute runs the command that args name. It also returns an error of writing help
// or a completion script, which cobra drops.
func Execute(ctx context.Context, root *cobra.Command, args []string, stdout io.Writer) error {
	out := &helpWriter{w: stdout}
	root.SetArgs(args)
	root.SetOut(out)
	if err := root.ExecuteContext(ctx); err != nil {
		return err
	}
	return out.err
}

// helpWriter remembers the first error.
type helpWriter struct {
	w   io.Writer
	err error
}

func (h *helpWriter) Write(p []byte) (int, error) {
	n, err := h.w.Write(p)
	if h.err == nil && err != nil {
		h.err = fmt.Errorf("write to standard output: %w", OutputError(err))
	}
	return n, err
}

// Closers are what a command keeps open until its end.
type Closers []io.Closer

// Close closes them all.
func (c Closers) Close() {
	for _, closer := range c {
		closer.Close()
	}
}
