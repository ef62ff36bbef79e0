//go:build amd64 || arm64

package userns_test

import (
	"os"
	"testing"

	"github.com/varve-image/varve/sandbox"
	"github.com/varve-image/varve/sandbox/sandboxtest"
	"github.com/varve-image/varve/sandbox/userns"
)

// refuseVariable is the environment variable that asks for a filter like that
// of Nix's builds around the tests.
const refuseVariable = "VARVE_TEST_REFUSE"

func TestMain(m *testing.M) {
	if code, ok := userns.Main(); ok {
		os.Exit(code)
	}
	if os.Getenv(refuseVariable) != "" {
		if err := userns.RefuseAsNix(); err != nil {
			panic(err)
		}
	}
	os.Exit(sandboxtest.Main(m))
}

func TestSuite(t *testing.T) {
	sandboxtest.Run(t, func(_ testing.TB, temp string) sandbox.Runner {
		return userns.New(sandbox.Options{TempDir: temp})
	})
}
