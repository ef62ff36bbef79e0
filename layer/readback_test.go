package layer_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

var dialects = map[string]layer.Dialect{"pax": layer.PAX, "gnu": layer.GNU}

// content gives an entry its content.
func content(e *tree.Entry, data []byte) *tree.Entry {
	e.Size = int64(len(data))
	e.Content = tree.OpenFunc(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
	return e
}

// encode writes a tar of the entries.
func encode(d layer.Dialect, prefix string, entries ...*tree.Entry) ([]byte, error) {
	var out bytes.Buffer
	w := layer.NewWriter(&out, d, prefix)
	for _, e := range entries {
		if err := w.Write(context.Background(), e); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if w.Size() != int64(out.Len()) || out.Len()%10240 != 0 {
		return nil, fmt.Errorf("the tar has %d bytes, Size says %d", out.Len(), w.Size())
	}
	return out.Bytes(), nil
}

// readsBack reads a tar with archive/tar and compares the result with the
// entries that it was made from.
func readsBack(data []byte, prefix string, entries ...*tree.Entry) error {
	r := tar.NewReader(bytes.NewReader(data))
	for _, e := range entries {
		hdr, err := r.Next()
		if err != nil {
			return fmt.Errorf("entry %s: %w", short(e), err)
		}
		if err := sameAs(hdr, prefix, e); err != nil {
			return fmt.Errorf("entry %s: %w", short(e), err)
		}
		got, err := io.ReadAll(r)
		if err != nil {
			return fmt.Errorf("content of %s: %w", short(e), err)
		}
		var want []byte
		if e.Content != nil {
			f, err := e.Open()
			if err != nil {
				return err
			}
			if want, err = io.ReadAll(f); err != nil {
				return err
			}
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("content of %s: %q, want %q", short(e), got, want)
		}
	}
	if hdr, err := r.Next(); err != io.EOF {
		return fmt.Errorf("one more entry: %v, %v", hdr, err)
	}
	return nil
}

func sameAs(hdr *tar.Header, prefix string, e *tree.Entry) error {
	name := prefix + e.Path
	if e.Path == "." && prefix != "" {
		name = prefix
	}
	if e.Type == tree.Dir && !strings.HasSuffix(name, "/") {
		name += "/"
	}
	xattrs := map[string]string{}
	for key, value := range hdr.PAXRecords {
		if x, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
			xattrs[x] = value
		}
	}
	type fields struct {
		name, link, uname, gname string
		kind                     byte
		mode, size, mtime        int64
		uid, gid                 int
		major, minor             int64
	}
	got := fields{hdr.Name, hdr.Linkname, hdr.Uname, hdr.Gname, hdr.Typeflag, hdr.Mode, hdr.Size,
		hdr.ModTime.Unix(), hdr.Uid, hdr.Gid, hdr.Devmajor, hdr.Devminor}
	want := fields{name, e.Linkname, e.Uname, e.Gname, byte(e.Type), int64(e.Mode), e.Size,
		e.ModTime, int(e.UID), int(e.GID), 0, 0}
	if e.Type == tree.Char || e.Type == tree.Block {
		want.major, want.minor = int64(e.Devmajor), int64(e.Devminor)
	}
	switch {
	case got != want:
		return fmt.Errorf("archive/tar reads\n     %+v\nwant %+v", got, want)
	case !maps.Equal(xattrs, e.Xattrs):
		return fmt.Errorf("archive/tar reads the attributes %q, want %q", xattrs, e.Xattrs)
	case !hdr.AccessTime.IsZero() || !hdr.ChangeTime.IsZero() || hdr.ModTime.Nanosecond() != 0:
		return fmt.Errorf("archive/tar reads the times %v, %v, %v", hdr.ModTime, hdr.AccessTime, hdr.ChangeTime)
	}
	return nil
}

// xattrEntries have extended attributes beside everything that makes a
// header's other records.
func xattrEntries() []*tree.Entry {
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	attrs := map[string]string{
		"security.capability": capability, "user.empty": "", "user.text": "line\nline", "user.ü": "ü\xff",
		"user.long": strings.Repeat("v", 2000), "user.a": "1=2", "user.record": "12 path=evil\n",
	}
	return []*tree.Entry{
		{Path: ".", Type: tree.Dir, Mode: 0o755, Xattrs: map[string]string{"user.root": "1"}},
		content(&tree.Entry{Path: "bin", Type: tree.Regular, Mode: 0o755, Xattrs: attrs}, []byte("content")),
		content(&tree.Entry{Path: "plain", Type: tree.Regular, Mode: 0o644}, nil),
		{Path: strings.Repeat("d", 120), Type: tree.Dir, Mode: 0o755, Xattrs: attrs},
		content(&tree.Entry{Path: strings.Repeat("\xff", 120), Type: tree.Regular, UID: 1 << 22, Xattrs: attrs}, []byte("x")),
		{Path: strings.Repeat("l", 120), Type: tree.Symlink, Mode: 0o777, Linkname: strings.Repeat("t", 120), Xattrs: attrs},
	}
}

func TestReadsBack(t *testing.T) {
	var entries []*tree.Entry
	for _, e := range nastyEntries() {
		if e.Size == 0 {
			entries = append(entries, e)
		}
	}
	for _, n := range []int{1, 511, 512, 513, 10240, bigBuffer - 1024, bigBuffer - 512, bigBuffer, bigBuffer + 1, 3*bigBuffer + 7} {
		entries = append(entries, content(&tree.Entry{Path: fmt.Sprintf("size-%d", n), Type: tree.Regular}, noise(n)))
	}
	entries = append(entries, xattrEntries()...)
	for name, d := range dialects {
		for _, prefix := range []string{"", "/", "./"} {
			data, err := encode(d, prefix, fits(d, entries)...)
			if err == nil {
				err = readsBack(data, prefix, fits(d, entries)...)
			}
			if err != nil {
				t.Errorf("%s, prefix %q: %v", name, prefix, err)
			}
		}
	}
}

// bigBuffer is the size of the encoder's buffer.
const bigBuffer = 1 << 20

// fits leaves out what the dialect cannot hold.
func fits(d layer.Dialect, entries []*tree.Entry) []*tree.Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e *tree.Entry) bool {
		return d == layer.GNU && (len(e.Uname) > 32 || len(e.Gname) > 32)
	})
}

// TestOtherTarsRead: GNU tar and libarchive list and extract both dialects
// without complaint, except that GNU tar does not know hdrcharset, with which
// Python, and so the PAX dialect, announces names that are not UTF-8.
func TestOtherTarsRead(t *testing.T) {
	for name, d := range dialects {
		data, err := encode(d, "./", xattrEntries()...)
		if err != nil {
			t.Fatal(err)
		}
		for _, tool := range []string{"tar", "bsdtar"} {
			t.Run(name+"/"+tool, func(t *testing.T) {
				path := testtools.Need(t, tool)
				var opts []string
				if tool == "tar" && d == layer.PAX {
					opts = []string{"--warning=no-unknown-keyword"}
				}
				show := slices.Clone(opts)
				if tool == "tar" {
					show = append(show, "--xattrs", "--xattrs-include=*")
				}
				list := runTar(t, data, path, append(show, "-tvvf", "-")...)
				if n := strings.Count(list, strings.Repeat("l", 120)+" -> "+strings.Repeat("t", 120)); n != 1 {
					t.Errorf("it lists:\n%s", list)
				}
				if tool == "tar" && !strings.Contains(list, "security.capability") {
					t.Errorf("it lists no attributes:\n%s", list)
				}
				dir := t.TempDir()
				if tool == "bsdtar" { // file systems accept none of a symlink's
					opts = append(opts, "--no-xattrs")
				}
				runTar(t, data, path, append(opts, "-C", dir, "--no-same-owner", "-xf", "-")...)
				if got, err := os.ReadFile(filepath.Join(dir, "bin")); string(got) != "content" {
					t.Errorf("extracted %q, %v", got, err)
				}
			})
		}
	}
}

// runTar runs a tar program, which must accept its input.
func runTar(t *testing.T, input []byte, name string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), &stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%s %q: %v\n%s", name, args, err, stderr.String())
	}
	return string(out)
}

func TestWriterRefuses(t *testing.T) {
	file := tree.Entry{Path: "file", Type: tree.Regular}
	for name, change := range map[string]func(*tree.Entry){
		"owner out of range":     func(e *tree.Entry) { e.UID = 1<<32 - 1 },
		"group out of range":     func(e *tree.Entry) { e.GID = 1<<32 - 1 },
		"mode out of range":      func(e *tree.Entry) { e.Mode = 0o10000 },
		"time before 1970":       func(e *tree.Entry) { e.ModTime = -1 },
		"negative size":          func(e *tree.Entry) { e.Size = -1 },
		"directory with content": func(e *tree.Entry) { e.Type, e.Size = tree.Dir, 1 },
		"no path":                func(e *tree.Entry) { e.Path = "" },
		"file with a slash":      func(e *tree.Entry) { e.Path = "file/" },
		"NUL in the path":        func(e *tree.Entry) { e.Path = "fi\x00le" },
		"NUL in the target":      func(e *tree.Entry) { e.Linkname = "\x00" },
		"NUL in the owner":       func(e *tree.Entry) { e.Uname = "\x00" },
		"NUL in the group":       func(e *tree.Entry) { e.Gname = "\x00" },
		"attribute with =":       func(e *tree.Entry) { e.Xattrs = map[string]string{"user.a=b": ""} },
		"attribute with NUL":     func(e *tree.Entry) { e.Xattrs = map[string]string{"user.\x00": ""} },
		"attribute without name": func(e *tree.Entry) { e.Xattrs = map[string]string{"": "x"} },
		"hard link to nothing":   func(e *tree.Entry) { e.Type, e.Size, e.Content = tree.Link, 0, nil },
		"hard link with content": func(e *tree.Entry) { e.Type, e.Linkname, e.Size = tree.Link, "a", 1 },
		"no type":                func(e *tree.Entry) { e.Type = 0 },
		"short content":          func(e *tree.Entry) { content(e, []byte("ab")).Size = 3 },
		"long content":           func(e *tree.Entry) { content(e, []byte("ab")).Size = 1 },
	} {
		e := file
		change(&e)
		for dialect, d := range dialects {
			_, err := encode(d, "./", &e)
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", e.Path)) {
				t.Errorf("%s, %s: the error is %v", name, dialect, err)
			}
		}
	}
	long := file
	long.Uname = strings.Repeat("u", 33)
	if _, err := encode(layer.GNU, "", &long); err == nil {
		t.Error("GNU dialect: it took an owner's name of 33 bytes")
	}
}

// FuzzWriter: what the encoder accepts, archive/tar reads back unchanged.
func FuzzWriter(f *testing.F) {
	f.Add(false, byte('0'), "path", "", "root", "root", "user.a", "value", uint32(0o644), uint32(0), uint32(0), int64(1), uint32(0), []byte("content"))
	f.Add(true, byte('2'), strings.Repeat("n", 101), strings.Repeat("t", 101), "", "", "", "", uint32(0o777), uint32(1<<21), uint32(1<<32-2), int64(1<<33), uint32(0), []byte(nil))
	f.Add(false, byte('5'), "\xff/é", "", "ü", strings.Repeat("g", 33), "security.capability", "\x00\n", uint32(0o7777), uint32(1<<22), uint32(7), int64(1<<40), uint32(0), []byte(nil))
	f.Add(true, byte('3'), "dev/null", "", "", "", "user.ü", "12 path=x\n", uint32(0), uint32(0), uint32(0), int64(0), uint32(1<<31), []byte(nil))
	f.Fuzz(func(t *testing.T, gnu bool, kind byte, name, link, uname, gname, xname, xvalue string,
		mode, uid, gid uint32, mtime int64, dev uint32, data []byte) {
		e := &tree.Entry{
			Path: name, Type: tree.Type(kind), Mode: mode & 0o7777, UID: uid, GID: gid, Uname: uname, Gname: gname,
			ModTime: mtime, Linkname: link, Devmajor: dev, Devminor: dev / 3,
		}
		if xname != "" {
			e.Xattrs = map[string]string{xname: xvalue, "user.z": "z"}
		}
		if e.Type == tree.Regular {
			content(e, data)
		}
		d := layer.PAX
		if gnu {
			d = layer.GNU
		}
		last := content(&tree.Entry{Path: "last", Type: tree.Regular, Mode: 0o600}, []byte("last"))
		out, err := encode(d, "./", e, last)
		if err != nil {
			return // TestWriterRefuses tests what may be refused
		}
		if err := readsBack(out, "./", e, last); err != nil {
			t.Error(err)
		}
	})
}
