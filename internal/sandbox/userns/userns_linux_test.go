//go:build amd64 || arm64

package userns_test

import (
	"os"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/sandboxtest"
	"github.com/varve-image/varve/internal/sandbox/userns"
)

// aroundVariable is the environment variable that asks for filters around the tests.
const aroundVariable = "VARVE_TEST_AROUND"

func TestMain(m *testing.M) {
	if code, ok := userns.Main(); ok {
		os.Exit(code)
	}
	for word := range strings.FieldsSeq(os.Getenv(aroundVariable)) {
		filters := map[string]func() error{"refuse": refuseAsNix, "listen": takeListener, "untraced": refuseTracing}
		if err := filters[word](); err != nil {
			panic(err)
		}
	}
	code := sandboxtest.Main(m)
	if selfDir != "" {
		os.RemoveAll(selfDir)
	}
	os.Exit(code)
}

func newRunner(_ testing.TB, temp string) sandbox.Runner {
	return userns.New(sandbox.Options{TempDir: temp})
}

func TestSuite(t *testing.T) { sandboxtest.Run(t, newRunner) }

func TestNetwork(t *testing.T) { sandboxtest.RunNetwork(t, newRunner) }
