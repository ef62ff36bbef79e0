package specflags

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/varve-image/varve/internal/base/lockfile"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/spec"
)

// Input is the file that a command was given.
type Input struct {
	// Name is used in messages; relative paths start at Dir.
	Name, Dir string
	// Data is nil if there is no file and the flags say everything.
	Data []byte
	// LayerFormat is the version of layers that the varve.lock names, or 0.
	LayerFormat int
}

// Lock returns the path of the varve.lock beside the file.
func (in *Input) Lock() string { return filepath.Join(in.Dir, lockfile.Name) }

func (in *Input) reader() io.Reader {
	if in.Data == nil {
		return nil
	}
	return bytes.NewReader(in.Data)
}

// ReadStdin reads standard input, and claims it.
func ReadStdin(stdin *cmdline.Stdin) (*Input, error) {
	in, err := stdin.Take("a spec")
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(in, spec.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	return &Input{Name: "standard input", Data: data}, nil
}

// ReadFile reads a file.
func ReadFile(name string) (*Input, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, cmdline.FileUsage(fmt.Errorf("read spec %q: %w", name, regfile.Cause(err)))
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.IsDir() {
		return nil, cmdline.Usage(fmt.Errorf("%q is a directory: name the spec in it", name))
	}
	data, err := io.ReadAll(io.LimitReader(f, spec.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read spec %q: %w", name, regfile.Cause(err))
	}
	return &Input{Name: name, Dir: filepath.Dir(name), Data: data}, nil
}
