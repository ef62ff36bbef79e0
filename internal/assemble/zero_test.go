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

// TestNoOpenBase: who cannot open base images says so of specs and conf.json
// that have one, and builds all others.
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
	conf, err := ParseConf([]byte(`{"architecture": "amd64", "created": "1970-01-01T00:00:01Z", "repo_tag": "a:b", "from_image": "base.tar", "store_layers": [], "customisation_layer": "x"}`))
	if err != nil {
		t.Fatal(err)
	}
	_, confErr := conf.Image(t.Context(), ConfOptions{})
	for field, err := range map[string]error{"fromImage": build("{name: a, fromImage: base.tar}"), "from_image": confErr} {
		var wrong *SpecError
		if !errors.As(err, &wrong) || wrong.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// loud writes, and ends without having run anything.
type loud struct{}

var errLoud = errors.New("it was loud")

func (loud) Run(_ context.Context, step *sandbox.Step) (*sandbox.Result, error) {
	if _, err := fmt.Fprintln(step.Stdout, "something"); err != nil {
		return nil, err
	}
	return nil, errLoud
}

// TestNoOutput: what scripts write is thrown away where nobody wants it.
func TestNoOutput(t *testing.T) {
	steps := Steps{Runner: func(spec.Isolation) (sandbox.Runner, error) { return loud{}, nil }}
	dir := t.TempDir()
	_, err := tryBuild(t, dir, "{name: a, shell: /bin/sh, extraCommands: ':', path: ["+filepath.Join(dir, "bin")+"]}", Options{Steps: steps})
	if !errors.Is(err, errLoud) {
		t.Errorf("%v, want %v", err, errLoud)
	}
}
