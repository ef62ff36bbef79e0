package engine

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// impatient shortens the time that engines have.
func impatient(t *testing.T) {
	t.Helper()
	was := limits
	limits.answer, limits.silence, limits.work = 300*time.Millisecond, 400*time.Millisecond, 1<<30
	t.Cleanup(func() { limits = was })
}

// programs puts shell scripts on the PATH.
func programs(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// dripping answers a byte now and then, forever.
func dripping(w http.ResponseWriter, r *http.Request) {
	for {
		if _, err := io.WriteString(w, " "); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// save reads the whole of a saved image.
func save(ctx context.Context, e Engine) error {
	r, err := e.Save(ctx, "a:b", "")
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}

// some writes an archive of some MB.
func some(_ context.Context, w io.Writer) error {
	_, err := w.Write(make([]byte, 4<<20))
	return err
}

// mustEnd fails unless calls, which are made at the same time, fail for want of an
// answer, in time.
func mustEnd(t *testing.T, calls map[string]func(context.Context) error) {
	t.Helper()
	var all sync.WaitGroup
	for name, call := range calls {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			start := time.Now()
			err := call(ctx)
			if took := time.Since(start); err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "stuck") {
				t.Errorf("%s: %v after %v", name, err, took)
			}
		})
	}
	all.Wait()
}

// TestSilentEngine: an engine that accepts connections and says nothing, or next to nothing,
// does not hold varve up.
func TestSilentEngine(t *testing.T) {
	impatient(t)
	over := make(chan struct{})
	for name, answer := range map[string]http.HandlerFunc{
		"silent": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-over:
			}
		},
		"silent after all": func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-over
		},
		"dripping": func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			dripping(w, r)
		},
		"dripping error": func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusInternalServerError)
			dripping(w, r)
		},
		"silent header": func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.(http.Flusher).Flush()
			<-over
		},
	} {
		e := fake(t, answer)
		mustEnd(t, map[string]func(context.Context) error{
			name + ", ID":   func(ctx context.Context) error { _, err := e.Identify(ctx, "a:b"); return err },
			name + ", load": func(ctx context.Context) error { _, err := e.Load(ctx, toLoad(some)); return err },
			name + ", save": func(ctx context.Context) error { return save(ctx, e) },
		})
	}
	close(over)
}

// TestSilentCommand: the same for the programs through which engines are reached.
func TestSilentCommand(t *testing.T) {
	impatient(t)
	const drip = "while printf ' '; do sleep 0.05; done"
	const took = "cat >/dev/null\n"
	for name, script := range map[string]string{
		"silent":              "exec sleep 30",
		"silent after all":    took + "exec sleep 30",
		"dripping":            took + drip,
		"closes its output":   took + "exec >&-; exec sleep 30",
		"takes little":        "while head -c 1 >/dev/null; do sleep 0.05; done",
		"does not end so":     "trap '' TERM\n" + took + "sleep 30",
		"a child has the end": took + "sleep 30 & sleep 30",
	} {
		programs(t, map[string]string{"podman": script, "skopeo": script, "ctr": script})
		calls := map[string]func(context.Context) error{}
		for _, e := range []Engine{podman{}, skopeo{}, &containerd{ContainerdOptions: ContainerdOptions{listening(t), "default"}}} {
			where := name + ", " + e.String()
			calls[where+", ID"] = func(ctx context.Context) error { _, err := e.Identify(ctx, "a:b"); return err }
			calls[where+", load"] = func(ctx context.Context) error { _, err := e.Load(ctx, toLoad(some)); return err }
			calls[where+", save"] = func(ctx context.Context) error { return save(ctx, e) }
		}
		mustEnd(t, calls)
	}
}

// listening returns a socket that accepts connections.
func listening(t *testing.T) string {
	t.Helper()
	return fake(t, http.NotFoundHandler()).(*api).host.address
}

// TestSlowEngine: an engine may take long if it makes progress, and for its work once it has
// everything; varve's own time does not count.
func TestSlowEngine(t *testing.T) {
	impatient(t)
	limits.silence, limits.work = 2*time.Second, 2<<20 // half a second for each MiB
	const step = 500 * time.Millisecond                // 6 of them are more than the silence
	api := fake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range 6 {
			if r.Method == http.MethodPost {
				io.CopyN(io.Discard, r.Body, 1<<20)
			} else {
				w.Write(make([]byte, 1<<20))
				w.(http.Flusher).Flush()
			}
			time.Sleep(step)
		}
		if r.Method == http.MethodPost {
			io.Copy(io.Discard, r.Body)
			time.Sleep(limits.silence + step)
			io.WriteString(w, `{"stream":"Loaded image: a:b\n"}`)
		}
	}))
	programs(t, map[string]string{
		"podman": `case $1 in load) for i in 1 2 3 4 5 6; do head -c 1048576 >/dev/null; sleep 0.5; done; cat >/dev/null; sleep 2.5;;
save) for i in 1 2 3 4 5 6; do head -c 1048576 /dev/zero; sleep 0.5; done;; esac`,
		"skopeo": `case $3 in docker-archive:/dev/fd/3) sleep 2.5;; *) for i in 1 2 3 4 5 6; do head -c 1048576 /dev/zero; sleep 0.5; done;; esac`,
	})
	slowly := func(_ context.Context, w io.Writer) error {
		for range 8 {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return err
			}
		}
		time.Sleep(limits.silence + step)
		return nil
	}
	var all sync.WaitGroup
	for name, e := range map[string]Engine{"API": api, "podman": podman{}, "skopeo": skopeo{}} {
		all.Go(func() {
			if _, err := e.Load(t.Context(), toLoad(slowly)); err != nil {
				t.Errorf("%s: load: %v", name, err)
			}
		})
		all.Go(func() {
			if err := save(t.Context(), e); err != nil {
				t.Errorf("%s: save: %v", name, err)
			}
		})
	}
	all.Wait()
}

// TestMemory: nothing that an engine says is kept several times.
func TestMemory(t *testing.T) {
	line := func(text string) string { return fmt.Sprintf(`{"stream":%q}`, text) + "\n" }
	const size = 16 << 20
	many := func(line string) string { return strings.Repeat(line, size/len(line)) }
	for name, call := range map[string]func(){
		"names in a line": func() { readReport(strings.NewReader(many(line("Loaded image: " + strings.Repeat("a,", 30_000))))) },
		"many lines":      func() { readReport(strings.NewReader(many(line("Loaded image: a\n")))) },
		"lines in one":    func() { readReport(strings.NewReader(many(line(strings.Repeat("Loaded image: a\n", 3_000))))) },
		"words in a row":  func() { targetOf(strings.Repeat("a ", size/2), "a") },
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		call()
		runtime.ReadMemStats(&after)
		if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib > 64 {
			t.Errorf("%s: %d MiB", name, mib)
		} else {
			t.Logf("%s: %d MiB", name, mib)
		}
	}
}

// TestManyNames: names that an engine says it loaded are only for a message.
func TestManyNames(t *testing.T) {
	img := testImage("x")
	report := strings.Repeat(`{"stream":"Loaded image: `+strings.Repeat("name,", 10_000)+`\n"}`+"\n", 10)
	_, err := Load(t.Context(), fake(t, loads(report, "", "")), img, archiveOf(img))
	if err == nil || !strings.Contains(err.Error(), `"name, name, `) || len(err.Error()) > 4000 {
		t.Errorf("%.1000v", err)
	}
}
