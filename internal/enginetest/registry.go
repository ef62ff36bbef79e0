package enginetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/varve-image/varve/internal/testtools"
)

// Registry starts Docker's registry, without TLS and login, on a port of the
// loopback device, and returns its host. It is stopped, and what it stored
// removed, when the test ends. It needs no root.
func Registry(t testing.TB) string {
	t.Helper()
	program := testtools.Need(t, "docker-registry")
	dir := t.TempDir()
	var host string
	var err error
	for range 5 { // somebody else may take the port
		if host, err = startRegistry(t, program, dir); err == nil {
			return host
		}
	}
	t.Fatalf("start docker-registry: %v", err)
	return ""
}

func startRegistry(t testing.TB, program, dir string) (string, error) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	host := free.Addr().String()
	if err := free.Close(); err != nil {
		return "", err
	}
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: warn}\nstorage:\n  filesystem: {rootdirectory: %q}\n  delete: {enabled: true}\nhttp: {addr: %q}\n",
		filepath.Join(dir, "data"), host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return "", err
	}
	cmd := exec.Command(program, "serve", config)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "OTEL_TRACES_EXPORTER=none"}
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		return "", err
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	stop := func() { _ = cmd.Process.Kill(); <-exited }
	if err := answers("http://"+host+"/v2/", exited); err != nil {
		stop()
		return "", fmt.Errorf("%w; it wrote:\n%s", err, log.String())
	}
	t.Cleanup(stop)
	return host, nil
}

// answers waits until a server answers well, or has exited.
func answers(url string, exited <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("status %d", resp.StatusCode)
		}
		select {
		case <-exited:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return fmt.Errorf("no answer in %v: %w", startTimeout, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
