package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/lack"
)

// fake is a daemon that answers as a test wants.
func fake(t *testing.T, handler http.Handler) Engine {
	t.Helper()
	dir, err := os.MkdirTemp("", "d") // short: a socket's path has a limit
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go server.Serve(l)
	t.Cleanup(func() { server.Close(); os.RemoveAll(dir) })
	e, err := Docker(DockerOptions{Host: "unix://" + socket})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// loads answers loads with report, and says before and after one that the
// image has the ids.
func loads(report, before, after string) http.Handler {
	var loaded atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("POST /images/load", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		loaded.Store(true)
		io.WriteString(w, report)
	})
	mux.HandleFunc("GET /images/", func(w http.ResponseWriter, r *http.Request) {
		answer := before
		if loaded.Load() {
			answer = after
		}
		if answer == "" {
			w.WriteHeader(http.StatusNotFound)
		}
		io.WriteString(w, answer)
	})
	return mux
}

func TestLoadAnswers(t *testing.T) {
	img := testImage("x")
	id, err := image.ID(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	d, err := archiveOf(img).Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	right := fmt.Sprintf(`{"Id": %q}`, id)
	other := `{"Id": "sha256:` + strings.Repeat("0", 64) + `"}`
	const ok = `{"stream":"Loaded image: example.org/varve-daemon:one\n"}` + "\r\n"
	for name, tt := range map[string]struct {
		report, before, after string
		want                  string // of the error; empty for none
	}{
		"new":                 {ok, "", right, ""},
		"by id":               {`{"stream":"Loaded image ID: sha256:abc\n"}`, "", right, ""},
		"other before":        {ok, other, right, ""},
		"in containerd":       {ok, "", fmt.Sprintf(`{"Id": %q, "Descriptor": {}}`, d.Manifest), ""},
		"other in containerd": {ok, "", `{"Id": "sha256:` + strings.Repeat("0", 64) + `", "Descriptor": {}}`, "not " + d.Manifest.String()},
		"incomplete":          {ok, "", fmt.Sprintf(`{"Id": %q, "Descriptor": {}, "Manifests": [{"ID": %[1]q, "Available": false}]}`, d.Manifest), "parts are missing"},
		"not unpacked":        {ok + `{"stream":"Error unpacking image a:b: no space \u001b[2J"}` + "\n", "", right, `"Error unpacking image a:b: no space \x1b[2J"`},
		"error in stream":     {`{"status":"Loading"}` + "\n" + `{"errorDetail":{"message":"no space"},"error":"no space \u001b[2J"}` + "\n", "", "", `"no space \x1b[2J"`},
		"nothing said":        {"", "", right, "does not say that it loaded"},
		"page":                {"<html>hello</html>", "", right, `not a message: "<html>hello</html>"`},
		"endless line":        {strings.Repeat("x", 1<<20), "", right, "token too long"},
		"other after":         {ok, "", other, "not " + id.String()},
		"gone after":          {ok, "", "", "no image of the name now"},
		"no id":               {ok, `{}`, right, "id \"\""},
		"bad id":              {ok, `{"Id": "sha256:../.."}`, right, `"sha256:../.."`},
		"case variant":        {ok, `{"id": "x", "Id": "y"}`, right, `"id"`},
		"endless inspect":     {ok, `{"Id": "` + strings.Repeat("x", 9<<20), right, "more than 8388608 bytes"},
		"inspect is a page":   {ok, "<html>", right, "read what it says"},
	} {
		_, err := Load(t.Context(), fake(t, loads(tt.report, tt.before, tt.after)), img, archiveOf(img))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestStatus(t *testing.T) {
	img := testImage("x")
	for name, tt := range map[string]struct {
		status     int
		body, want string
	}{
		"message":  {500, `{"message": "disk \u0007 full"}`, `answers 500: "disk \a full"`},
		"page":     {502, "<html>bad gateway</html>", `answers 502: "<html>`},
		"endless":  {500, strings.Repeat("y", 1<<20), "yyy"},
		"redirect": {307, "", "answers 307"},
	} {
		e := fake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && !strings.HasSuffix(r.URL.Path, "/get") {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(tt.status)
			io.WriteString(w, tt.body)
		}))
		for what, err := range map[string]error{
			"load": func() error { _, err := Load(t.Context(), e, img, archiveOf(img)); return err }(),
			"save": func() error { _, err := e.Save(t.Context(), "a:b", ""); return err }(),
		} {
			if err == nil || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 2000 {
				t.Errorf("%s, %s: %.300v, want %q", name, what, err, tt.want)
			}
		}
	}
}

// TestSaveCut: an answer that breaks off is not an end.
func TestSaveCut(t *testing.T) {
	e := fake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "begun")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	r, err := e.Save(t.Context(), "a:b", "")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if data, err := io.ReadAll(r); err == nil {
		t.Errorf("%q is taken for all", data)
	}
}

// TestWriterFails: the engine sees that the archive is not whole, and the
// error is the writer's.
func TestWriterFails(t *testing.T) {
	whole := make(chan bool, 1)
	e := fake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			_, err := io.Copy(io.Discard, r.Body)
			whole <- err == nil
			return
		}
		http.NotFound(w, r)
	}))
	img, broken := testImage("x"), errors.New("broken")
	_, err := Load(t.Context(), e, img, writing(img, func(_ context.Context, w io.Writer) error {
		io.WriteString(w, "begun")
		return broken
	}))
	if !errors.Is(err, broken) {
		t.Errorf("%v is not the writer's error", err)
	}
	if <-whole {
		t.Error("the engine takes the archive for whole")
	}
}

// TestEarlyAnswer: an engine that answers before it has read everything does
// not leave the writer waiting.
func TestEarlyAnswer(t *testing.T) {
	e := fake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `{"message": "not you"}`)
	}))
	img := testImage("x")
	_, err := Load(t.Context(), e, img, writing(img, func(ctx context.Context, w io.Writer) error {
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
	}))
	// Which of the two is seen first depends on the network.
	if err == nil || !strings.Contains(err.Error(), "not you") && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
}

// TestCancel: a context ends every call in time, and nothing is left behind.
func TestCancel(t *testing.T) {
	stuck := make(chan struct{})
	e := fake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/get") {
			io.WriteString(w, "begun")
			w.(http.Flusher).Flush()
		}
		<-stuck
	}))
	t.Cleanup(func() { close(stuck) }) // before the server is closed
	dir := t.TempDir()
	sleeper := filepath.Join(dir, "podman")
	// The shell's child holds the pipes open when the shell is killed.
	if err := os.WriteFile(sleeper, []byte("#!/bin/sh\ntrap '' TERM\nsleep 5\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	endless := func(ctx context.Context, w io.Writer) error {
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return err
			}
		}
	}
	before := runtime.NumGoroutine()
	for name, call := range map[string]func(context.Context) error{
		"ID": func(ctx context.Context) error { _, err := e.Identify(ctx, "a:b"); return err },
		"load": func(ctx context.Context) error {
			_, err := e.Load(ctx, &Image{Names: []string{"a:b"}, archive: writing(testImage("x"), endless)})
			return err
		},
		"Load": func(ctx context.Context) error {
			_, err := Load(ctx, e, testImage("x"), writing(testImage("x"), endless))
			return err
		},
		"save": func(ctx context.Context) error {
			r, err := e.Save(ctx, "a:b", "")
			if err == nil {
				_, err = io.Copy(io.Discard, r)
				r.Close()
			}
			return err
		},
		"podman ID": func(ctx context.Context) error { _, err := podman{}.Identify(ctx, "a:b"); return err },
		"podman load": func(ctx context.Context) error {
			_, err := podman{}.Load(ctx, &Image{archive: writing(testImage("x"), endless)})
			return err
		},
		"podman save": func(ctx context.Context) error {
			r, err := podman{}.Save(ctx, "a:b", "")
			if err == nil {
				_, err = io.Copy(io.Discard, r)
				r.Close()
			}
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		start := time.Now()
		err := call(ctx)
		if took := time.Since(start); err == nil || took > 1100*time.Millisecond {
			t.Errorf("%s: %v after %v", name, err, took)
		}
		cancel()
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		// The server has some of its own: a connection for each call.
		if n := runtime.NumGoroutine(); n <= before+2*4 {
			break
		} else if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before\n%s", n, before, buf[:runtime.Stack(buf, true)])
		}
	}
}

func TestMissing(t *testing.T) {
	dir, err := os.MkdirTemp("", "d")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	dead := filepath.Join(dir, "dead")
	l, err := net.Listen("unix", dead)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	ctr := t.TempDir()
	if err := os.WriteFile(filepath.Join(ctr, "ctr"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", ctr)
	engine := func(e Engine, err error) Engine {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	for name, e := range map[string]Engine{
		"no socket":     engine(Docker(DockerOptions{Host: "unix://" + filepath.Join(dir, "none")})),
		"dead socket":   engine(Docker(DockerOptions{Host: "unix://" + dead})),
		"no port":       engine(Docker(DockerOptions{Host: "tcp://127.0.0.1:1"})),
		"podman":        engine(Podman(t.Context(), PodmanOptions{Host: "unix://" + dead})),
		"containerd":    engine(Containerd(ContainerdOptions{Socket: dead})),
		"no containerd": engine(Containerd(ContainerdOptions{Socket: "unix://" + filepath.Join(dir, "none")})),
	} {
		_, err := Load(t.Context(), e, testImage("x"), Archive{})
		var missing *lack.Error
		if !errors.As(err, &missing) || len(missing.Hints) == 0 {
			t.Errorf("%s: %v is not a *lack.Error with a hint", name, err)
		}
		if _, err := Open(t.Context(), e, "a:b", ""); !errors.As(err, &missing) || errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v is not a *lack.Error", name, err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	for name, find := range map[string]func() (Engine, error){
		"podman":     func() (Engine, error) { return Podman(t.Context(), PodmanOptions{Sockets: []string{dead}}) },
		"storage":    func() (Engine, error) { return Storage("") },
		"containerd": func() (Engine, error) { return Containerd(ContainerdOptions{}) },
	} {
		var missing *lack.Error
		if _, err := find(); !errors.As(err, &missing) || len(missing.Hints) == 0 {
			t.Errorf("%s: %v is not a *lack.Error with a hint", name, err)
		}
	}
}

func TestHosts(t *testing.T) {
	for text, want := range map[string]string{
		"unix:///run/d.sock": "unix /run/d.sock", "tcp://h:1": "tcp h:1", "tcp://h": "tcp h:2375", "tcp://[::1]:5/": "tcp [::1]:5", "http://h:80": "tcp h:80",
		"https://h": "tcp h:2376", "unix://run/d.sock": "absolute", "unix:d.sock": "absolute",
		"": "expected unix", "/run/d.sock": "expected unix", "tcp://": "expected tcp", "tcp://h/x": "expected tcp", "npipe:////./pipe/x": "expected unix", "fd://": "expected unix",
		"tcp://a b": "not a URL",
	} {
		h, err := parseHost(endpoint{host: text})
		got := h.network + " " + h.address
		if err != nil {
			got = err.Error()
		}
		if got != want && (err == nil || !strings.Contains(got, want)) {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	for _, opts := range []ContainerdOptions{{Socket: "run/c.sock"}, {Socket: "tcp://h"}, {Namespace: "--x"}, {Namespace: "a b"}, {Namespace: "a..b"}} {
		if _, err := Containerd(opts); err == nil || errors.As(err, new(*lack.Error)) {
			t.Errorf("%+v: %v", opts, err)
		}
	}
}

func TestNames(t *testing.T) {
	e := fake(t, http.NotFoundHandler())
	for _, name := range []string{"a", "a:b", "localhost:5000/a/b:c", "a@sha256:" + strings.Repeat("0", 64), "sha256:" + strings.Repeat("0", 64), strings.Repeat("0", 64)} {
		if _, err := Open(t.Context(), e, name, ""); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", "-x", "--help", "a/../b", "/a", "A:b", "a b", "a?x=y", "a#b", "a\x00", "a:b\n", "sha256:xyz", "sha256:../..", strings.Repeat("a", 600)} {
		if _, err := Open(t.Context(), e, name, ""); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%.30q: %v", name, err)
		}
	}
}

// TestList: the engine's names of its images, without images that have no name.
func TestList(t *testing.T) {
	for answer, want := range map[string][]string{
		`[{"RepoTags": ["a:1", "b.example/c:2"]}, {"RepoTags": ["<none>:<none>"]}, {"RepoTags": null}, {}]`: {"a:1", "b.example/c:2"},
		`[{"RepoTags": ["a\u001b[2J:1", "-x"]}]`:                                                            nil,
		`[]`:                                                                                                nil,
	} {
		e := fake(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, answer) }))
		if got, err := List(t.Context(), e); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", answer, got, err, want)
		}
	}
	for _, answer := range []string{`{"a": 1}`, ``, `[{"RepoTags": ["` + strings.Repeat("a", maxInspect)} {
		e := fake(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, answer) }))
		if got, err := List(t.Context(), e); err == nil {
			t.Errorf("%.20s: %q and no error", answer, got)
		}
	}
}

func TestTables(t *testing.T) {
	const table = "REF TYPE DIGEST SIZE PLATFORMS LABELS \na:b application/x sha256:1 1.0 KiB linux/amd64 - \na:bc application/x sha256:2 1\n"
	if got, ok := targetOf(table, "a:bc"); got != "sha256:2" || !ok {
		t.Errorf("%q, %t", got, ok)
	}
	if got, ok := targetOf(table, "b"); ok {
		t.Errorf("%q for nothing", got)
	}
	text := "Loaded image: a:b\n Loaded image ID: sha256:1\r\nLoaded image(s): c,d\nLoaded\n"
	if got := loadedNames(text); !slices.Equal(got, []string{"a:b", "sha256:1", "c", "d"}) {
		t.Errorf("%q", got)
	}
}

func TestLimited(t *testing.T) {
	var b limited
	for i := range 100 {
		fmt.Fprint(&b, strings.Repeat(string(rune('a'+i%26)), 5000))
	}
	fmt.Fprint(&b, strings.Repeat("z", 2*maxText)+"end")
	if b.Len() != maxText || !strings.HasSuffix(b.String(), "zend") {
		t.Errorf("%d bytes", b.Len())
	}
}

func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"stream":"Loaded image: a:b\n"}` + "\r\n" + `{"error":"x"}`))
	f.Add([]byte("<html>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if names, err := readReport(strings.NewReader(string(data))); (len(names) == 0) == (err == nil) {
			t.Errorf("names %q, %v", names, err)
		}
	})
}

func FuzzInspect(f *testing.F) {
	f.Add([]byte(`{"Id": "sha256:` + strings.Repeat("0", 64) + `"}`))
	f.Add([]byte(`{"Id": "x", "Descriptor": {"digest": 1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if id, err := parseInspect(data); err == nil && cmp.Or(id.ID, id.Manifest).Validate() != nil {
			t.Errorf("id %q", id)
		}
	})
}

func FuzzTable(f *testing.F) {
	f.Add("REF TYPE DIGEST\na b sha256:1\n", "a")
	f.Fuzz(func(_ *testing.T, table, name string) {
		targetOf(table, name)
		loadedNames(table)
	})
}
