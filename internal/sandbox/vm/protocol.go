package vm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"syscall"

	"github.com/varve-image/varve/internal/lack"
	"github.com/varve-image/varve/internal/sandbox"
)

// The host and the first process of the guest talk over a serial port in frames: a byte for
// the kind, the length of the data in four bytes, little endian, and the data.
const (
	frameHello  = 'h' // guest: the first, and empty: the guest is there
	frameStdout = 'o' // guest: what the step wrote, never empty
	frameStderr = 'e'
	frameReport = 'r' // guest: the last, a report
	frameStdin  = 'i' // host: for the step to read; empty is the end
	frameResize = 'w' // host: a sandbox.TerminalSize
)

// The names of the guest's serial ports: for the frames above, and for those of files.go.
const (
	stepPort  = "varve.step"
	filesPort = "varve.files"
)

// maxFrame limits the data of a frame, and maxError the text of an error, in bytes.
const (
	maxFrame = 64 << 10
	maxError = 8 << 10
)

// request tells the guest what to do, as a file of its first file system.
type request struct {
	// Step is the step without tree and streams.
	Step sandbox.Step
	// Terminal is the terminal's size, where the step has one. Stdin says that the step has
	// input.
	Terminal *sandbox.TerminalSize
	Stdin    bool
	// OneOutput says that standard output and error go to the same place, where what is
	// written to both has to stay in order.
	OneOutput bool
	// Tree is the length of the tar on the second disk; Changes that of the third disk.
	Tree, Changes int64
	// Modules are the kernel's, in the order to load them in.
	Modules []string
	// Shares are files and directories of the host.
	Shares []share
	// Links are symlinks to make.
	Links []link
}

// share is a directory or a regular file of the host, read-only.
type share struct {
	// Path is where the guest sees it.
	Path string
	// source is its path on the host.
	source string
}

// link is a symlink.
type link struct{ Path, Text string }

// report is the guest's result of the step.
type report struct {
	ExitCode, Signal int
	// Limit says which limit was reached, with a File that was too large for it and its
	// Size, or with why the usage was Unseen.
	Limit  sandbox.Limit
	File   string
	Size   int64
	Unseen string
	// Error says what went wrong before or after the step; Missing says that the guest
	// lacks something.
	Error   string
	Missing bool
	// Changes is the length of the layer on the third disk.
	Changes int64
}

// reportOf makes a report from an error.
func reportOf(err error) report {
	var (
		failed  *sandbox.StepError
		limit   *sandbox.LimitError
		lacking *lack.Error
	)
	switch {
	case errors.As(err, &failed):
		return report{ExitCode: failed.ExitCode, Signal: int(failed.Signal)}
	case errors.As(err, &limit):
		return report{Limit: limit.Limit, File: limit.File, Size: limit.Size, Unseen: limit.Unseen}
	case errors.As(err, &lacking):
		return report{Error: lacking.Error(), Missing: true}
	}
	return report{Error: err.Error()}
}

// readReport reads a report whose changes are at most that many bytes, and refuses reports
// that our guest never sends.
func readReport(data []byte, most int64) (*report, error) {
	r, err := decode[report](data)
	if err != nil {
		return nil, err
	}
	var outcomes int
	for _, is := range []bool{r.Changes != 0, r.ExitCode != 0 || r.Signal != 0, r.Limit != "", r.Error != ""} {
		if is {
			outcomes++
		}
	}
	exited := r.Signal == 0 && r.ExitCode >= 0 && r.ExitCode <= 255
	signalled := r.Signal > 0 && r.Signal <= 64 && r.ExitCode == -1
	limits := []sandbox.Limit{"", sandbox.LimitMemory, sandbox.LimitOutput, sandbox.LimitDisk, sandbox.LimitProcesses} // the host's clock counts
	large := r.File == "" && r.Size == 0 || r.File != "" && r.Size > 0 && r.Limit == sandbox.LimitDisk
	switch {
	case outcomes != 1, !exited && !signalled, !slices.Contains(limits, r.Limit), !large, r.Missing && r.Error == "":
		return nil, errors.New("it contradicts itself")
	case r.Changes < 0 || r.Changes > most:
		return nil, fmt.Errorf("its changes take %d bytes", r.Changes)
	}
	return r, nil
}

// decode reads one value that a guest sent, and nothing else: neither "null", nor unknown
// fields, nor anything after it.
func decode[T any](data []byte) (*T, error) {
	var v *T
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if v == nil {
		return nil, errors.New("it is null")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows it")
	}
	return v, nil
}

// err returns the error that a report of a step stands for, or nil.
func (r *report) err(step *sandbox.Step, lines []string) error {
	name := step.Name
	switch {
	case r.Limit != "":
		return &sandbox.LimitError{Name: name, Limit: r.Limit, Limits: step.Limits, File: r.File, Size: r.Size, Unseen: r.Unseen, LastLines: lines}
	case r.ExitCode != 0 || r.Signal != 0:
		return &sandbox.StepError{Name: name, Root: step.Root, ExitCode: r.ExitCode, Signal: syscall.Signal(r.Signal), LastLines: lines}
	case r.Missing:
		return missing(&KernelError{fmt.Errorf("step %s: the virtual machine's kernel: %.*q", name, maxError, r.Error), KernelUnfit})
	case r.Error != "":
		return fmt.Errorf("step %s: in the virtual machine: %.*q", name, maxError, r.Error)
	}
	return nil
}

// frameWriter writes frames. Several goroutines may use it.
type frameWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (f *frameWriter) write(kind byte, data []byte) error {
	if len(data) > maxFrame {
		return fmt.Errorf("a message of %d bytes is too long", len(data))
	}
	buf := make([]byte, 5, 5+len(data))
	buf[0] = kind
	binary.LittleEndian.PutUint32(buf[1:], uint32(len(data)))
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.w.Write(append(buf, data...))
	return err
}

func (f *frameWriter) writeJSON(kind byte, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return f.write(kind, data)
}

// stream is a writer that puts its data into frames of one kind.
type stream struct {
	frames *frameWriter
	kind   byte
}

func (s stream) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		part := p[:min(len(p), maxFrame)]
		if err := s.frames.write(s.kind, part); err != nil {
			return n, err
		}
		n, p = n+len(part), p[len(part):]
	}
	return n, nil
}

// readFrame reads a frame into buf, which has room for maxFrame bytes.
func readFrame(r io.Reader, buf []byte) (kind byte, data []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.LittleEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, fmt.Errorf("a message of %d bytes is too long", n)
	}
	if _, err := io.ReadFull(r, buf[:n]); err != nil {
		return 0, nil, fmt.Errorf("a message ends early: %w", err)
	}
	return head[0], buf[:n], nil
}
