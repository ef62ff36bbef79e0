package assemble

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/spec"
)

// TestNoOpenBase: a caller that cannot open base images gets an error for specs
// that have one, and can build all others.
func TestNoOpenBase(t *testing.T) {
	build := func(text string) error {
		s, err := spec.Parse(strings.NewReader(text), spec.Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		r, err := Build(t.Context(), s, Options{Architecture: "amd64"})
		if err == nil {
			r.Close()
		}
		return err
	}
	if err := build("{name: a}"); err != nil {
		t.Errorf("without a base: %v", err)
	}
	err := build("{name: a, fromImage: base.tar}")
	var wrong *SpecError
	if !errors.As(err, &wrong) || wrong.Field != "fromImage" {
		t.Error(err)
	}
}

// loud writes output, and ends without having run anything.
type loud struct{}

var errLoud = errors.New("it was loud")

func (loud) Run(_ context.Context, step *sandbox.Step) (*sandbox.Result, error) {
	if _, err := fmt.Fprintln(step.Stdout, "something"); err != nil {
		return nil, err
	}
	return nil, errLoud
}

// TestNoOutput: the output of scripts is discarded if nobody wants it.
func TestNoOutput(t *testing.T) {
	steps := Steps{Runner: func(spec.Isolation) (sandbox.Runner, error) { return loud{}, nil }}
	dir := t.TempDir()
	_, err := tryBuild(t, dir, "{name: a, shell: /bin/sh, extraCommands: ':', path: ["+filepath.Join(dir, "bin")+"]}", Options{Steps: steps})
	if !errors.Is(err, errLoud) {
		t.Errorf("%v, want %v", err, errLoud)
	}
}
