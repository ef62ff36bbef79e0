package rootfs

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/varve-image/varve/tree"
)

// lowerOf returns a file system of a lower layer: a text that starts with "-> " is
// a symlink.
func lowerOf(files map[string]string) Lower {
	var entries []*tree.Entry
	for name, text := range files {
		e := tree.NewFile(name, 0o640, text)
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			e = tree.NewSymlink(name, target)
		}
		e.UID, e.GID = 7, 8
		entries = append(entries, e)
	}
	return Lower{Entries: base(entries...), Store: "nix/store"}
}

// base returns the tree of a lower layer, whose entries differ in path.
func base(entries ...*tree.Entry) []*tree.Entry {
	all, err := preset("base", entries...)
	if err != nil {
		panic(err)
	}
	return all
}

// texts returns the regular files of a tree by path: mode, owner, content.
func texts(t *testing.T, entries []*tree.Entry) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, e := range entries {
		if e.Type == tree.Regular {
			all[e.Path] = fmt.Sprintf("%04o %d:%d ", e.Mode, e.UID, e.GID) + content(t, e)
		}
	}
	return all
}

func checkTexts(t *testing.T, entries []*tree.Entry, want map[string]string) {
	t.Helper()
	got := texts(t, entries)
	for path, text := range want {
		if got[path] != text {
			t.Errorf("/%s is %q, want %q", path, got[path], text)
		}
		delete(got, path)
	}
	for path, text := range got {
		t.Errorf("/%s is there: %q", path, text)
	}
}

// TestNSSAddsToLower: the lists of lower layers are added to, and what they have
// stays.
func TestNSSAddsToLower(t *testing.T) {
	const (
		own    = "0644 0:0 "
		below  = "0640 7:8 "
		root   = "root:x:0:0:root user:/var/empty:/bin/sh\n"
		nobody = "nobody:x:65534:65534:nobody:/var/empty:/bin/sh\n"
		group  = "root:x:0:\napp:x:5:\nnobody:x:65534:\n"
		hosts  = "hosts: files dns\n"
	)
	app := []string{"app:x:5:5:::"}
	for name, c := range map[string]struct {
		files map[string]string
		want  map[string]string
	}{
		"nothing": {nil, map[string]string{
			"etc/passwd": own + root + app[0] + "\n" + nobody, "etc/group": own + group, "etc/nsswitch.conf": own + hosts}},
		"a distribution": {
			map[string]string{"etc/passwd": "root:x:0:0:root:/root:/bin/bash\nwww:x:33:33:::\nnobody:x:65534:65534:::", "etc/group": "root:x:0:\nnogroup:x:65534:\n", "etc/nsswitch.conf": "its own"},
			map[string]string{"etc/passwd": below + "root:x:0:0:root:/root:/bin/bash\nwww:x:33:33:::\nnobody:x:65534:65534:::\napp:x:5:5:::\n",
				"etc/group": below + "root:x:0:\nnogroup:x:65534:\napp:x:5:\n"}},
		"other ids": {
			map[string]string{"etc/passwd": "toor:x:0:0:::\nnobody:x:99:99:::\n", "etc/group": ""},
			map[string]string{"etc/passwd": below + "toor:x:0:0:::\nnobody:x:99:99:::\napp:x:5:5:::\n", "etc/group": below + group, "etc/nsswitch.conf": own + hosts}},
		"the same lines": {
			map[string]string{"etc/passwd": "root:x:0:0:::\napp:x:5:5:::\nnobody:x:1:1:::\n", "etc/group": group, "etc/nsswitch.conf": ""},
			map[string]string{}},
		"odd lines": {
			map[string]string{"etc/passwd": "# comment\n\n+::::::\nroot\n", "etc/group": group},
			map[string]string{"etc/passwd": below + "# comment\n\n+::::::\nroot\napp:x:5:5:::\n" + nobody, "etc/nsswitch.conf": own + hosts}},
		"a link": {
			map[string]string{"etc/passwd": "-> ../usr/etc/passwd", "usr/etc/passwd": root, "etc/group": "-> gone"},
			map[string]string{"usr/etc/passwd": below + root + "app:x:5:5:::\n" + nobody, "etc/group": own + group, "etc/nsswitch.conf": own + hosts}},
		"a link into the store": {
			map[string]string{"etc/passwd": "-> /nix/store/x/etc/passwd", "nix/store/x/etc/passwd": root, "etc/group": group},
			map[string]string{"etc/passwd": own + root + "app:x:5:5:::\n" + nobody, "etc/nsswitch.conf": own + hosts}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := nss(app, []string{"app:x:5:"}, lowerOf(c.files))
			if err != nil {
				t.Fatal(err)
			}
			checkTexts(t, got, c.want)
		})
	}
}

// TestNSSConflictsWithLower: a user's line that has only the name or only the id of
// another is an error, and all are reported.
func TestNSSConflictsWithLower(t *testing.T) {
	lower := lowerOf(map[string]string{"etc/passwd": "app:x:1:1:::\nwww:x:33:33:::\n", "etc/group": "video:x:44:\n"})
	_, err := nss([]string{"app:x:2:2:::", "mine:x:33:1:::"}, []string{"video:x:44:app"}, lower)
	checkError(t, err, "preset nss: ", `extra passwd line 1, "app:x:2:2:::": a lower layer has a "app" already: "app:x:1:1:::"`,
		`extra passwd line 2, "mine:x:33:1:::": a lower layer has the id 33 already: "www:x:33:33:::"`,
		`extra group line 1, "video:x:44:app": a lower layer has a "video" already`)
}

// TestLowerErrors: a file that cannot be added to is named, and is not the preset's
// fault.
func TestLowerErrors(t *testing.T) {
	broken := tree.NewFile("etc/passwd", 0o644, "x")
	broken.Content = tree.OpenFunc(func() (io.ReadCloser, error) { return nil, errors.New("digest is wrong") })
	large := tree.NewFile("etc/passwd", 0o644, "x")
	large.Size = maxLower + 1
	for want, e := range map[string]*tree.Entry{"it is a directory": tree.NewDir("etc/passwd", 0o755), "digest is wrong": broken, "at most 16777216": large} {
		_, err := nss(nil, nil, Lower{Entries: base(e)})
		var lower *LowerError
		if checkError(t, err, "preset nss: add to /etc/passwd of a lower layer: ", want); !errors.As(err, &lower) {
			t.Errorf("%v is not a LowerError", err)
		}
	}
}

// FuzzNSSLower: whatever a list of a lower layer contains, its text stays at the
// beginning, and every added line ends.
func FuzzNSSLower(f *testing.F) {
	f.Add("root:x:0:0:::\n", "a:x:1:1:::")
	f.Add("\x00:::\n::::", "a:x:1:1:::")
	f.Fuzz(func(t *testing.T, below, line string) {
		got, err := nss([]string{line}, nil, lowerOf(map[string]string{"etc/passwd": below}))
		if err != nil || strings.HasPrefix(below, "-> ") {
			return
		}
		for _, e := range got {
			if e.Path != "etc/passwd" {
				continue
			}
			if text := content(t, e); !strings.HasPrefix(text, below) || !strings.HasSuffix(text, "\n") {
				t.Errorf("%q became %q", below, text)
			}
		}
	})
}
