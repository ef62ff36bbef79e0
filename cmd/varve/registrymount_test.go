package main

import (
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/varve-image/varve/internal/enginetest"
)

// TestRegistryMount: what goes from one repository of a registry to another is not
// sent: the registry has it.
func TestRegistryMount(t *testing.T) {
	host := enginetest.Registry(t)
	dir := openDir(t, "")
	noise := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // never fails
	put(t, filepath.Join(dir, "big"), string(noise), 0o644)
	put(t, filepath.Join(dir, "motd"), "hello\n", 0o644)
	from, to := "docker://"+host+"/team/base:1", "docker://"+host+"/other/base:1"
	mustRun(t, dir, "build", "--name", "base", "--copy", "big", "-q", "-o", from, "--insecure", host)
	var sent atomic.Int64
	counting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := &counted{r.Body, &sent}
		out, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+host+r.URL.RequestURI(), body)
		if err != nil {
			t.Error(err)
			return
		}
		out.Header, out.ContentLength, out.Host = r.Header, r.ContentLength, r.Host
		if r.ContentLength == 0 {
			out.Body = http.NoBody
		}
		resp, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		for key, values := range resp.Header {
			w.Header()[key] = values
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	defer counting.Close()
	front := strings.TrimPrefix(counting.URL, "http://")
	from, to = strings.Replace(from, host, front, 1), strings.Replace(to, host, front, 1)
	mustRun(t, dir, "copy", "-q", from, to, "--insecure", front)
	if n := sent.Load(); n == 0 || n > 10_000 {
		t.Errorf("a copy within the registry sent %d bytes", n)
	}
	child := strings.Replace(to, "other/base", "other/child", 1)
	sent.Store(0)
	mustRun(t, dir, "build", "--name", "child", "--copy", "motd", "--from", from, "--unlocked", "-q", "-o", child, "--insecure", front)
	if n := sent.Load(); n == 0 || n > 10_000 {
		t.Errorf("a build on an image of the registry sent %d bytes", n)
	}
	mustFind(t, mustRun(t, dir, "inspect", child, "--insecure", front).stdout, "in 2 layers")
}

// counted counts a body's bytes.
type counted struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}
