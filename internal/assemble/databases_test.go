package assemble

import (
	"errors"
	"testing"

	"github.com/varve-image/varve/spec"
)

// TestNoDatabases: a program without Nix's databases reports an error for a spec that asks
// for one.
func TestNoDatabases(t *testing.T) {
	s := spec.New("a")
	s.IncludeNixDB = true
	_, err := Build(t.Context(), s, Options{Root: t.TempDir(), TempDir: t.TempDir()})
	var wrong *SpecError
	if !errors.As(err, &wrong) || wrong.Field != nixDBField {
		t.Errorf("%v, want a *SpecError of %s", err, nixDBField)
	}
}
