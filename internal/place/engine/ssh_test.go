package engine

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/lack"
	"github.com/varve-image/varve/internal/testtools"
)

func TestSSHArguments(t *testing.T) {
	for text, want := range map[string]string{
		"ssh://h":                   "-T -o ConnectTimeout=30 -- h docker system dial-stdio",
		"ssh://me@h:2222":           "-T -o ConnectTimeout=30 -l me -p 2222 -- h docker system dial-stdio",
		"ssh://h/":                  "-T -o ConnectTimeout=30 -- h docker system dial-stdio",
		"ssh://me@[fe80::1]/x.sock": "-T -o ConnectTimeout=30 -l me -- fe80::1 docker --host=unix:///x.sock system dial-stdio",
		"ssh://h/a%20b'$(x)":        `-T -o ConnectTimeout=30 -- h docker --host='unix:///a b'\''$(x)' system dial-stdio`,
		"ssh://my_host.example":     "-T -o ConnectTimeout=30 -- my_host.example docker system dial-stdio",
	} {
		h, err := parseHost(endpoint{host: text})
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if got := strings.Join(h.ssh.args(), " "); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	for _, text := range []string{
		"ssh://", "ssh:///run/x.sock", "ssh://-oProxyCommand=x", "ssh://-h", "ssh://-l@h", "ssh://me@-h", "ssh://me@", "ssh://a%20b@h", "ssh://$x@h", "ssh://h?x=y", "ssh://h#x",
		"ssh://me:secret@h", "ssh://%2doProxyCommand=x@h", "ssh://h/a%0ab", "ssh:h", "ssh://a%60b", "ssh://h;x", "ssh://@h",
	} {
		if h, err := parseHost(endpoint{host: text}); err == nil {
			t.Errorf("%q is taken: %q", text, h.ssh.args())
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("a password is in %q", err)
		}
	}
	p, err := Podman(t.Context(), PodmanOptions{Host: "ssh://core@h:22/run/p.sock", Identity: "/key"})
	if err != nil {
		t.Fatal(err)
	}
	want := "-T -o ConnectTimeout=30 -i /key -l core -p 22 -- h podman --url=unix:///run/p.sock system dial-stdio"
	if got := strings.Join(p.(*api).host.ssh.args(), " "); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestSSHReads: ssh itself reads the arguments as intended.
func TestSSHReads(t *testing.T) {
	program := testtools.Need(t, "ssh")
	h, err := parseHost(endpoint{host: "ssh://me@there.example:2222"})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, append([]string{"-F", "/dev/null", "-G"}, h.ssh.args()...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"user me\n", "hostname there.example\n", "port 2222\n", "requesttty false\n", "connecttimeout 30\n"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("ssh does not say %q:\n%s", want, out)
		}
	}
}

func FuzzHost(f *testing.F) {
	for _, s := range []string{"unix:///x", "tcp://h:1", "ssh://me@h:22/x.sock", "ssh://-oProxyCommand=x", "https://h", "ssh://a%2db@h", "ssh://me:p@h", "ssh://[::1%25eth0]/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseHost(endpoint{host: s})
		if err != nil || h.ssh == nil {
			return
		}
		args := h.ssh.args()
		for i, a := range args {
			if strings.HasPrefix(a, "-") && i > 3 && !strings.HasPrefix(strings.Replace(a, "'", "", 1), "--host=unix:///") && a != "-l" && a != "-p" && a != "--" || strings.ContainsAny(a, "\n\x00") {
				t.Errorf("%q: argument %q of %q", s, a, args)
			}
		}
	})
}

// onlySSH puts a program called ssh into PATH.
func onlySSH(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ssh"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// TestSSHFails: what ssh says is in the error, which says what to do.
func TestSSHFails(t *testing.T) {
	e, err := Docker(DockerOptions{Host: "ssh://me@h"})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ script, want string }{
		"at once":         {"echo 'me@h: Permission denied \033[2J' >&2; exit 255", `ssh ends with code 255: "me@h: Permission denied \x1b[2J"`},
		"after a request": {"read line; echo 'no docker' >&2; exit 127", `ssh ends with code 127: "no docker"`},
		"without a word":  {"exit 1", "ssh ends with code 1"},
	} {
		onlySSH(t, tt.script)
		for what, call := range map[string]func() error{
			"ID":   func() error { _, err := Open(t.Context(), e, "a:b", ""); return err },
			"load": func() error { _, err := e.Load(t.Context(), toLoad(nothing)); return err },
		} {
			err := call()
			var missing *lack.Error
			if !errors.As(err, &missing) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(strings.Join(missing.Hints, " "), "DOCKER_HOST") {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
	onlySSH(t, "exit 0")
	if _, err := e.Identify(t.Context(), "a:b"); err == nil {
		t.Error("an ssh that says nothing is an engine")
	}
	t.Setenv("PATH", t.TempDir())
	var missing *lack.Error
	if _, err := e.Identify(t.Context(), "a:b"); !errors.As(err, &missing) || !strings.Contains(err.Error(), "ssh is not installed") {
		t.Errorf("no ssh: %v", err)
	}
}

// TestSSHCancel: an ssh that hangs ends with the context, and is not left behind.
func TestSSHCancel(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	onlySSH(t, "echo $$ >>"+pids+"\nexec sleep 60\n")
	e, err := Docker(DockerOptions{Host: "ssh://h"})
	if err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	var pid int
	var cancelled time.Time
	go func() {
		defer cancel()
		for deadline := time.Now().Add(10 * time.Second); pid == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			data, _ := os.ReadFile(pids) // not there yet
			pid, _ = strconv.Atoi(strings.TrimSpace(string(data)))
		}
		cancelled = time.Now()
	}()
	_, err = e.Identify(ctx, "a:b")
	if took := time.Since(cancelled); !errors.Is(err, context.Canceled) || pid == 0 || took > 5*time.Second {
		t.Fatalf("%v, %v after the end of process %d", err, took, pid)
	}
	gone := func() bool {
		return errors.Is(unix.Kill(pid, 0), unix.ESRCH) && runtime.NumGoroutine() <= before
	}
	for deadline := time.Now().Add(10 * time.Second); !gone(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("process %d is left, or goroutines\n%s", pid, buf[:runtime.Stack(buf, true)])
		}
	}
}
