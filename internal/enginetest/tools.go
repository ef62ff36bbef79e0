package enginetest

import (
	"context"
	"os/exec"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
)

// Skopeo runs skopeo with args, without a signature policy. The paths in args
// should be absolute. It needs no root.
func Skopeo(t testing.TB, args ...string) Result {
	t.Helper()
	args = append([]string{"--insecure-policy", "--tmpdir", t.TempDir()}, args...)
	return tool(t, "skopeo", args...)
}

// Umoci runs umoci with args. Without root, unpacking takes --rootless.
func Umoci(t testing.TB, args ...string) Result {
	t.Helper()
	return tool(t, "umoci", args...)
}

func tool(t testing.TB, name string, args ...string) Result {
	t.Helper()
	path := testtools.Need(t, name)
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	result, err := Output(exec.CommandContext(ctx, path, args...))
	if err != nil {
		t.Fatal(err)
	}
	return result
}
