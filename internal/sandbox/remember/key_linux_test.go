package remember

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/tree"
)

func changeOf(t *testing.T, name string) int64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Lstat(name, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ctim.Nano()
}

func mustKey(t *testing.T, s *sandbox.Step, opts Options) key {
	t.Helper()
	k, err := keyOf(t.Context(), &fake{}, s, opts)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestKey: everything that can change a result changes the key, and nothing else does.
func TestKey(t *testing.T) {
	of := func(change func(*sandbox.Step, *Options)) key {
		s, opts := step(), Options{}
		change(s, &opts)
		return mustKey(t, s, opts)
	}
	plain := of(func(*sandbox.Step, *Options) {})
	edit := func(i int, change func(*tree.Entry)) func(*sandbox.Step, *Options) {
		return func(s *sandbox.Step, _ *Options) { change(s.Tree[i]) }
	}
	seen := map[key]string{plain: "plain"}
	for name, change := range map[string]func(*sandbox.Step, *Options){
		"name":      func(s *sandbox.Step, _ *Options) { s.Name += "x" },
		"isolation": func(_ *sandbox.Step, o *Options) { o.Isolation = "vm" },
		"script":    func(s *sandbox.Step, _ *Options) { s.Script += " " },
		"argv":      func(s *sandbox.Step, _ *Options) { s.Argv = []string{"/bin/sh", ""} },
		"env":       func(s *sandbox.Step, _ *Options) { s.Env = []string{"A=2"} },
		"more env":  func(s *sandbox.Step, _ *Options) { s.Env = []string{"A=1", "B="} },
		"dir":       func(s *sandbox.Step, _ *Options) { s.Dir = "/etc" },
		"fakeroot":  func(s *sandbox.Step, _ *Options) { s.FakeRoot = false },
		"root":      func(s *sandbox.Step, _ *Options) { s.Root = sandbox.HostTools },
		"vm":        func(s *sandbox.Step, _ *Options) { s.VM.Memory = 1 << 30 },
		"bind":      func(s *sandbox.Step, _ *Options) { s.Binds = []sandbox.Bind{{Source: "/bin", Target: "/x"}} },
		"target":    func(s *sandbox.Step, _ *Options) { s.Binds = []sandbox.Bind{{Source: "/bin", Target: "/y"}} },
		"removed":   func(s *sandbox.Step, _ *Options) { s.Tree = s.Tree[:len(s.Tree)-1] },
		"content":   edit(2, func(e *tree.Entry) { *e = *tree.NewFile(e.Path, e.Mode, "owm") }),
		"mode":      edit(2, func(e *tree.Entry) { e.Mode = 0o600 }),
		"uid":       edit(2, func(e *tree.Entry) { e.UID++ }),
		"uname":     edit(2, func(e *tree.Entry) { e.Uname = "" }),
		"time":      edit(2, func(e *tree.Entry) { e.ModTime++ }),
		"xattr":     edit(2, func(e *tree.Entry) { e.Xattrs = map[string]string{"user.a": "b"} }),
		"stamp":     edit(2, func(e *tree.Entry) { e.Stamp.Inode = 7 }),
		"base": func(s *sandbox.Step, o *Options) {
			o.Base = Base{[]digest.Digest{digest.FromString("a")}, s.Tree[:3]}
		},
		"other base": func(s *sandbox.Step, o *Options) {
			o.Base = Base{[]digest.Digest{digest.FromString("b")}, s.Tree[:3]}
		},
		"more of the base": func(s *sandbox.Step, o *Options) {
			o.Base = Base{[]digest.Digest{digest.FromString("a")}, s.Tree[:4]}
		},
	} {
		k := of(change)
		if other, ok := seen[k]; ok {
			t.Errorf("%q has the key of %q", name, other)
		}
		seen[k] = name
	}
	for name, change := range map[string]func(*sandbox.Step, *Options){
		"nothing":          func(*sandbox.Step, *Options) {},
		"limits":           func(s *sandbox.Step, _ *Options) { s.Limits = sandbox.Limits{Time: time.Second, Disk: 5} },
		"an unused base":   func(_ *sandbox.Step, o *Options) { o.Base = Base{[]digest.Digest{digest.FromString("a")}, before()} },
		"source in a text": func(s *sandbox.Step, _ *Options) { s.Tree[1].Source = "elsewhere" },
	} {
		if of(change) != plain {
			t.Errorf("%s changes the key", name)
		}
	}
}

// TestBaseUnread: nothing of the base is read.
func TestBaseUnread(t *testing.T) {
	s := step()
	for _, e := range s.Tree {
		if e.Type == tree.Regular {
			e.Content = nil
		}
	}
	mustKey(t, s, Options{Base: Base{Entries: s.Tree}})
}

// TestMachine: whatever happens to the files that a step sees changes the key.
func TestMachine(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) error { return os.WriteFile(at(name), []byte(text), 0o644) }
	err := errors.Join(os.MkdirAll(at("in/deep"), 0o755), write("in/deep/file", "one"), write("in/other", "two"), os.Symlink("other", at("in/link")),
		syscall.Mkfifo(at("in/fifo"), 0o600), os.MkdirAll(at("store/aaa-kept/sub"), 0o755), write("store/aaa-kept/sub/file", "x"),
		os.MkdirAll(at("store/.links"), 0o755), os.MkdirAll(at("store/bbb-new"), 0o755), write("store/bbb-new/file", "y"),
		os.Chmod(at("store/aaa-kept"), 0o555), os.Symlink("in", at("to")))
	if err != nil {
		t.Fatal(err)
	}
	s := step()
	s.Binds = []sandbox.Bind{{Source: at("to"), Target: "/x"}, {Source: at("store"), Target: "/nix/store"}}
	opts := Options{Stores: []string{at("store")}}
	last := mustKey(t, s, opts)
	if k := mustKey(t, s, opts); k != last {
		t.Fatal("two keys of the same")
	}
	for _, c := range []struct {
		name string
		do   func() error
		same bool
	}{
		{"write", func() error { return write("in/deep/file", "ONE") }, false},
		{"new file", func() error { return write("in/deep/new", "") }, false},
		{"remove", func() error { return os.Remove(at("in/deep/new")) }, false},
		{"mode", func() error { return os.Chmod(at("in/other"), 0o600) }, false},
		{"rename", func() error { return os.Rename(at("in/other"), at("in/another")) }, false},
		{"link", func() error { return errors.Join(os.Remove(at("in/link")), os.Symlink("elsew", at("in/link"))) }, false},
		{"an old time", func() error {
			st, err := os.Stat(at("in/deep/file"))
			return errors.Join(err, write("in/deep/file", "two"), os.Chtimes(at("in/deep/file"), st.ModTime(), st.ModTime()))
		}, false},
		{"unfinished store path", func() error { return write("store/bbb-new/file", "z") }, false},
		{"another store path", func() error { return os.Mkdir(at("store/ccc"), 0o555) }, false},
		{"not in sight", func() error { return write("beside", "z") }, true},
		{"reading", func() error { _, err := os.ReadFile(at("in/deep/file")); return err }, true},
		{"in a store path that is complete", func() error { return write("store/aaa-kept/sub/file", "z") }, true},
		{"link to the source", func() error {
			return errors.Join(os.Mkdir(at("in2"), 0o755), os.Remove(at("to")), os.Symlink("in2", at("to")))
		}, false},
	} {
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		k := mustKey(t, s, opts)
		if (k.sum == last.sum) != c.same {
			t.Errorf("%s: the key is the same: %v", c.name, k.sum == last.sum)
		}
		last = k
	}
	if want := changeOf(t, at("in2")); last.changed < want {
		t.Errorf("changed %d, want %d at least", last.changed, want)
	}
}

// TestUnstated: what nobody can tell from another is an error.
func TestUnstated(t *testing.T) {
	s := step()
	s.Binds = []sandbox.Bind{{Source: "/proc/self", Target: "/x"}}
	if _, err := keyOf(t.Context(), &fake{}, s, Options{}); err == nil || !strings.Contains(err.Error(), "whose times others keep, or nobody") {
		t.Errorf("error %v", err)
	}
	s.Binds = []sandbox.Bind{{Source: t.TempDir() + "/absent", Target: "/x"}}
	if _, err := keyOf(t.Context(), &fake{}, s, Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// TestUnreliable: a change time that may be a copy of the modification time says nothing of a file.
func TestUnreliable(t *testing.T) {
	second := unix.NsecToTimespec(1e9)
	for name, tt := range map[string]struct {
		st   unix.Stat_t
		want bool
	}{
		"file":      {unix.Stat_t{Mode: unix.S_IFREG, Mtim: second, Ctim: second}, false},
		"directory": {unix.Stat_t{Mode: unix.S_IFDIR, Mtim: second, Ctim: second}, true},
		"changed":   {unix.Stat_t{Mode: unix.S_IFREG, Mtim: second, Ctim: unix.NsecToTimespec(2e9)}, true},
		"no time":   {unix.Stat_t{Mode: unix.S_IFDIR}, false},
	} {
		m := &machine{devices: map[uint64]regfile.Changes{0: regfile.Passed}}
		if err := m.reliable(unix.AT_FDCWD, "f", "f", &tt.st); (err == nil) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
