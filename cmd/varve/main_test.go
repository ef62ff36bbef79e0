package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/varve-image/varve/internal/enginetest"
	"github.com/varve-image/varve/internal/sandbox/userns"
)

var engines enginetest.Set

// TestMain runs the tests, or varve itself if a script calls it.
func TestMain(m *testing.M) {
	if code, ok := userns.Main(); ok {
		os.Exit(code)
	}
	if os.Getenv("GORACE") == "" {
		// The race detector makes a program sleep for a second at its end.
		os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	testscript.Main(shipped.Around(engines.Around(m)), map[string]func(){"varve": main})
}
