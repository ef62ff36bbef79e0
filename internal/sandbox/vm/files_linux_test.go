//go:build amd64

package vm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// serveFiles has a server show directories, and returns a client, and a channel with the
// server's result.
func serveFiles(t testing.TB, sources ...string) (*fileClient, <-chan error) {
	t.Helper()
	ours, theirs, err := serialPort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	var shares []share
	for _, source := range sources {
		shares = append(shares, share{Path: "/x", source: source})
	}
	server, err := newFileServer(ours, shares)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.serve() }()
	return newFileClient(theirs), done
}

// must fails the test at the first error.
func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// TestFileServer: a guest sees what is in the shares, and cannot name anything else.
func TestFileServer(t *testing.T) {
	dir := t.TempDir()
	shared := filepath.Join(dir, "shared")
	must(t,
		os.Mkdir(shared, 0o755), os.Mkdir(shared+"/sub", 0o755),
		os.WriteFile(shared+"/sub/file", bytes.Repeat([]byte("0123456789"), 20000), 0o644),
		os.WriteFile(dir+"/secret", []byte("secret"), 0o644), os.WriteFile(dir+"/single", []byte("single"), 0o644),
		os.Symlink("../secret", shared+"/out"), os.Symlink("..", shared+"/up"),
	)
	client, _ := serveFiles(t, shared, dir+"/single")
	for _, c := range []struct {
		q    question
		want syscall.Errno
		data string
	}{
		{question{Op: opStat}, 0, ""},
		{question{Op: opReadLink, Path: "out"}, 0, "../secret"},
		{question{Op: opRead, Path: "sub/file", Offset: 199_995, Size: 100}, 0, "56789"},
		{question{Op: opRead, Path: "sub/file", Offset: 1 << 62, Size: 100}, 0, ""},
		{question{Op: opRead, Path: "out", Size: 100}, unix.EACCES, ""},
		{question{Op: opRead, Path: "up/secret", Size: 100}, unix.ELOOP, ""},
		{question{Op: opStat, Path: "up/secret"}, unix.ELOOP, ""},
		{question{Op: opReadDir, Path: "up"}, unix.EACCES, ""},
		{question{Op: opRead, Path: "../secret", Size: 100}, unix.EXDEV, ""},
		{question{Op: opStat, Path: "/etc/passwd"}, unix.EXDEV, ""},
		{question{Op: opStat, Path: "sub/../../secret"}, unix.EXDEV, ""},
		{question{Op: opStat, Path: "sub\x00"}, unix.EINVAL, ""},
		{question{Op: opStat, Path: strings.Repeat("a/", 20000)}, unix.ENAMETOOLONG, ""},
		{question{Op: opRead, Path: "sub", Size: 100}, unix.EACCES, ""},
		{question{Op: opReadDir, Path: "sub/file"}, unix.EACCES, ""},
		{question{Op: opStat, Path: "none"}, unix.ENOENT, ""},
		{question{Op: opRead, Share: 1, Size: 100}, 0, "single"},
		{question{Op: opRead, Share: 1, Path: "x", Size: 100}, unix.ENOTDIR, ""},
		{question{Op: opStat, Share: 1, Path: ".."}, unix.ENOTDIR, ""},
	} {
		_, data, err := client.ask(c.q)
		if got := errno(err); got != c.want || c.want == 0 && string(data) != c.data {
			t.Errorf("%.100v: %.100q, %v, want %q, %v", c.q, data, err, c.data, c.want)
		}
	}
	if _, data, err := client.ask(question{Op: opReadDir}); err != nil || !strings.Contains(string(data), "dsub\x00") || strings.Count(string(data), "\x00") != 3 {
		t.Errorf("names %q, %v", data, err)
	}
	if _, data, err := client.ask(question{Op: opRead, Path: "sub/file", Size: maxRead}); err != nil || len(data) != 200_000 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

// TestFileServerEnds: a question that our guest never asks ends the server, at once.
func TestFileServerEnds(t *testing.T) {
	for _, c := range []struct {
		kind byte
		data string
	}{
		{frameAsk, `{"Op":"stat","Share":1}`},
		{frameAsk, `{"Op":"stat","Share":-1}`},
		{frameAsk, `{"Op":"write","Path":"x"}`},
		{frameAsk, `{"Op":"read","Size":-1}`},
		{frameAsk, `{"Op":"read","Size":1048577}`},
		{frameAsk, `{"Op":"read","Size":1,"Offset":-5}`},
		{frameAsk, `{"Op":"stat","More":1}`},
		{frameAsk, `{"Op":"stat"}{"Op":"stat"}`},
		{frameAsk, strings.Repeat("[", maxFrame)},
		{frameAsk, `null`},
		{frameAsk, `{}`},
		{frameAsk, ``},
		{frameHello, `{"Op":"stat"}`},
		{frameReport, ``},
	} {
		client, done := serveFiles(t, t.TempDir())
		must(t, client.frames.write(c.kind, []byte(c.data)))
		select {
		case err := <-done:
			if err == nil || !strings.Contains(err.Error(), "makes no sense") || len(err.Error()) > 1000 {
				t.Errorf("%q %.100q: %v", c.kind, c.data, err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%q %.100q is answered", c.kind, c.data)
		}
	}
}

// special makes files of all types that can be in a directory.
func special(t *testing.T, dir string) []string {
	t.Helper()
	names := []string{"fifo", "socket"}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: dir + "/socket"}), unix.Listen(fd, 1), unix.Mkfifo(dir+"/fifo", 0o666))
	if os.Geteuid() == 0 {
		must(t, unix.Mknod(dir+"/char", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))), unix.Mknod(dir+"/block", unix.S_IFBLK|0o666, int(unix.Mkdev(7, 0))),
			os.Chmod(dir+"/char", 0o666), os.Chmod(dir+"/block", 0o666), os.Chmod(dir+"/fifo", 0o666))
		names = append(names, "char", "block")
	}
	return names
}

// TestSpecialFiles: files that are not regular are visible but never opened, which would
// wake processes that wait for them.
func TestSpecialFiles(t *testing.T) {
	dir := t.TempDir()
	names := special(t, dir)
	woken := make(chan error, 1)
	go func() {
		f, err := os.OpenFile(dir+"/fifo", os.O_WRONLY, 0)
		if err == nil {
			f.Close()
		}
		woken <- err
	}()
	time.Sleep(50 * time.Millisecond) // for it to wait
	client, _ := serveFiles(t, dir)
	for _, name := range names {
		if a, _, err := client.ask(question{Op: opStat, Path: name}); err != nil || a.Mode&unix.S_IFMT == unix.S_IFREG {
			t.Errorf("%s: %+v, %v", name, a, err)
		} else if name == "char" && a.Device != unix.Mkdev(1, 3) {
			t.Errorf("%s is the device %#x", name, a.Device)
		}
		for _, op := range []fileOp{opRead, opReadDir, opReadLink} {
			if _, data, err := client.ask(question{Op: op, Path: name, Size: 10}); err == nil {
				t.Errorf("%s of %s: %q", op, name, data)
			}
		}
		if server, err := newFileServer(nil, []share{{source: filepath.Join(dir, name)}}); err == nil {
			server.close()
			t.Errorf("%s is shared", name)
		}
	}
	select {
	case err := <-woken:
		t.Fatalf("who waited for the FIFO was woken: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	f, err := os.OpenFile(dir+"/fifo", os.O_RDONLY|unix.O_NONBLOCK, 0)
	must(t, err, <-woken)
	f.Close()
}

// TestFileServerRace: a name that alternates between two files never leads anywhere else.
func TestFileServerRace(t *testing.T) {
	dir := t.TempDir()
	shared := filepath.Join(dir, "shared")
	must(t, os.Mkdir(shared, 0o755), os.WriteFile(dir+"/secret", []byte("secret"), 0o644), os.Mkdir(shared+"/real", 0o755),
		os.WriteFile(shared+"/real/secret", []byte("public"), 0o644), os.Symlink("..", shared+"/link"),
		os.WriteFile(shared+"/file", []byte("public"), 0o644), os.Symlink("../secret", shared+"/out"))
	names := append(special(t, shared), "out", "link")
	client, _ := serveFiles(t, shared)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			at := func(name string) string { return filepath.Join(shared, name) }
			_ = unix.Renameat2(-1, at("file"), -1, at(names[i%len(names)]), unix.RENAME_EXCHANGE)
			_ = unix.Renameat2(-1, at("real"), -1, at("link"), unix.RENAME_EXCHANGE)
		}
	}()
	var read int
	for i := range 5_000 {
		name := []string{"file", "real/secret", "link/secret", "out"}[i%4]
		_, data, err := client.ask(question{Op: opRead, Path: name, Size: 100})
		if string(data) == "public" {
			read++
		} else if err == nil || len(data) > 0 {
			t.Fatalf("%s: %q, %v", name, data, err)
		}
		// Ask for another file, so that the previous one is no longer open.
		if _, _, err := client.ask(question{Op: opRead, Path: "none", Size: 1}); err == nil {
			t.Fatal("a file that there is not")
		}
	}
	close(stop)
	<-stopped
	if read == 0 {
		t.Error("the file was never read")
	}
}

// TestViewer: a guest may read what the step may read in namespaces, and the host's kernel
// keeps it from the rest: root's files appear as nobody's.
func TestViewer(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(dir+"/open", 0o755), os.Mkdir(dir+"/closed", 0o700), os.Mkdir(dir+"/listed", 0o744))
	for name, mode := range map[string]os.FileMode{"open": 0o644, "closed": 0o600, "group": 0o640, "none": 0} {
		must(t, os.WriteFile(dir+"/"+name+".txt", []byte("text"), 0o600), os.Chmod(dir+"/"+name+".txt", mode))
	}
	for _, sub := range []string{"open", "closed", "listed"} {
		must(t, os.WriteFile(dir+"/"+sub+"/file", []byte("text"), 0o644))
	}
	client, _ := serveFiles(t, dir, dir+"/closed.txt")
	root := kernelRoot(uint32(os.Geteuid()))
	for _, c := range []struct {
		q   question
		own bool // only the owner may read it
		no  bool // nobody may read it
	}{
		{q: question{Op: opRead, Path: "open.txt", Size: 10}},
		{q: question{Op: opRead, Path: "open/file", Size: 10}},
		{q: question{Op: opReadDir, Path: "listed"}},
		{q: question{Op: opStat, Path: "closed"}},
		{q: question{Op: opStat, Path: "closed.txt"}},
		{q: question{Op: opStat, Share: 1}},
		{q: question{Op: opRead, Path: "closed.txt", Size: 10}, own: true},
		{q: question{Op: opRead, Share: 1, Size: 10}, own: true},
		{q: question{Op: opRead, Path: "group.txt", Size: 10}, own: true},
		{q: question{Op: opRead, Path: "closed/file", Size: 10}, own: true},
		{q: question{Op: opStat, Path: "closed/file"}, own: true},
		{q: question{Op: opReadDir, Path: "closed"}, own: true},
		{q: question{Op: opStat, Path: "listed/file"}, own: true},
		{q: question{Op: opRead, Path: "none.txt", Size: 10}, no: true},
	} {
		want := syscall.Errno(0)
		if c.own && root || c.no {
			want = unix.EACCES
		}
		a, _, err := client.ask(c.q)
		if errno(err) != want {
			t.Errorf("%+v: %v, want %v", c.q, err, want)
		}
		owner := uint32(stepID)
		if root {
			owner = strangerID
		}
		if c.q.Op == opStat && err == nil && (a.UID != owner || a.GID != owner) {
			t.Errorf("%+v: owner %d:%d, want %d", c.q, a.UID, a.GID, owner)
		}
	}
	if root { // the other threads keep their user
		_, err := os.ReadFile(dir + "/closed.txt")
		dumpable, prctlErr := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		if must(t, err, prctlErr); dumpable != 1 {
			t.Error("the process cannot be looked into any more")
		}
	}
}

// TestProcesses: a guest does not see the kernel's files about processes, above all those
// about the server itself.
func TestProcesses(t *testing.T) {
	client, _ := serveFiles(t, "/proc", "/", "/proc/self/environ")
	for _, q := range []question{
		{Op: opStat}, {Op: opRead, Path: fmt.Sprintf("%d/environ", os.Getpid()), Size: 100}, {Op: opReadLink, Path: fmt.Sprintf("%d/exe", os.Getpid())},
		{Op: opReadDir, Path: "1"}, {Op: opRead, Share: 1, Path: fmt.Sprintf("proc/%d/environ", os.Getpid()), Size: 100}, {Op: opRead, Share: 2, Size: 100},
	} {
		if _, data, err := client.ask(q); errno(err) != unix.EACCES {
			t.Errorf("%+v: %q, %v", q, data, err)
		}
	}
}

// TestFileServerMemory: whatever a guest asks for, and however often, the server has only
// one file open and does not grow.
func TestFileServerMemory(t *testing.T) {
	dir := t.TempDir()
	for i := range 200 {
		must(t, os.WriteFile(fmt.Sprintf("%s/%d", dir, i), bytes.Repeat([]byte("x"), maxRead), 0o644))
	}
	client, _ := serveFiles(t, dir)
	openFiles := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(fds)
	}
	before, files := heap(), openFiles()
	for i := range 20_000 {
		q := question{Op: []fileOp{opStat, opRead, opReadDir, opReadLink}[i%4], Path: fmt.Sprint(i % 300)}
		if i%400 == 1 {
			q.Size = maxRead
		} else if i%3 == 0 {
			q.Path = strings.Repeat(fmt.Sprint(i, "/"), 300)
		}
		_, _, _ = client.ask(q) // most fail
	}
	if grown := heap() - before; grown > 16<<20 {
		t.Errorf("it grew by %d MiB", grown>>20)
	}
	if more := openFiles() - files; more > 4 {
		t.Errorf("%d more files are open", more)
	}
}

// heap returns how much memory is in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// FuzzFileServer: questions never crash the server, nor lead out of the share.
func FuzzFileServer(f *testing.F) {
	var seed bytes.Buffer
	w := &frameWriter{w: &seed}
	for _, q := range []question{
		{Op: opStat}, {Op: opReadDir}, {Op: opRead, Path: "file", Size: 10}, {Op: opReadLink, Path: "link"}, {Op: opRead, Path: "link", Size: 10},
		{Op: opRead, Path: "../secret", Size: 10}, {Op: opRead, Path: "link/../../secret", Size: 10},
	} {
		if err := w.writeJSON(frameAsk, q); err != nil {
			f.Fatal(err)
		}
		f.Add(seed.Bytes())
	}
	dir := f.TempDir()
	shared := filepath.Join(dir, "shared")
	const secret = "2f1c7e9a4b"
	must(f, os.Mkdir(shared, 0o755), os.WriteFile(dir+"/secret", []byte(secret), 0o644), os.WriteFile(shared+"/file", []byte("public"), 0o644),
		os.Symlink("../secret", shared+"/link"), os.Symlink(dir, shared+"/up"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var out bytes.Buffer
		server, err := newFileServer(struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(in), &out}, []share{{source: shared}})
		must(t, err)
		done := make(chan error)
		go func() { done <- server.serve() }() // its thread ends with it
		<-done
		if bytes.Contains(out.Bytes(), []byte(secret)) {
			t.Errorf("the secret is in an answer to %q", in)
		}
	})
}
