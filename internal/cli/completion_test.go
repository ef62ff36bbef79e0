package cli

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/internal/cmdline"
)

// completed asks for completions as a shell does, with DOCKER_HOST set to a server
// that answers with handle.
func completed(t *testing.T, handle http.HandlerFunc, args ...string) (lines []string, stderr string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handle}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	var out, messages strings.Builder
	env := func(name string) (string, bool) { return "unix://" + socket, name == "DOCKER_HOST" }
	s := cmdline.Streams{In: strings.NewReader(""), Out: &out, Err: &messages, LookupEnv: env, Now: time.Now}
	root := newRoot(newEnvironment(s, newUI(s)))
	root.SetOut(&out)
	root.SetArgs(append([]string{cobra.ShellCompRequestCmd}, args...))
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return strings.Fields(out.String()), messages.String()
}

// TestCompleteEngine: the images of an engine are offered by their names there.
func TestCompleteEngine(t *testing.T) {
	got, stderr := completed(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `[{"RepoTags": ["debian:12", "hello:1"]}, {"RepoTags": ["<none>:<none>"]}, {"RepoTags": ["debian:13"]}]`)
	}, "inspect", "docker-daemon:deb")
	if want := []string{"docker-daemon:debian:12", "docker-daemon:debian:13", ":4"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if want := "Completion ended with directive: ShellCompDirectiveNoFileComp\n"; stderr != want { // as shells expect
		t.Errorf("standard error: %q", stderr)
	}
}

// TestCompleteSilence: an engine that refuses, or does not answer, makes nobody wait and
// causes no message.
func TestCompleteSilence(t *testing.T) {
	for name, handle := range map[string]http.HandlerFunc{
		"refuses": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"silent":  func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			got, stderr := completed(t, handle, "inspect", "docker-daemon:")
			if !slices.Equal(got, []string{":4"}) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("%q, and %q", got, stderr)
			}
			if took := time.Since(start); took > 2*cmdline.CompletionTime {
				t.Errorf("it took %v", took)
			}
		})
	}
}
