package layer_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// nastyNames are texts at the limits of tar's fields, of ASCII and of UTF-8.
func nastyNames() []string {
	names := []string{
		"a", "-n", " ", ".hidden", "new\nline", "tab\t", "back\\slash", "\x1b[31m", "\x7f", "quote\"'",
		"é", "日本語/ファイル", "😀", "\xff", "\xffé", "é\xff", "\xe2\x82", "\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80", "\ufffd", "\ue000",
	}
	for _, n := range []int{31, 32, 33, 98, 99, 100, 101, 154, 155, 156, 255, 256, 257, 1000, 4000} {
		names = append(names,
			strings.Repeat("n", n), strings.Repeat("é", n/2), strings.Repeat("\xff", n),
			strings.Repeat("d", n/2)+"/"+strings.Repeat("f", n-n/2-1))
	}
	return names
}

// nastyNumbers are at the limits of octal fields of 7 and 11 digits.
var nastyNumbers = []int64{0, 1, 1<<21 - 1, 1 << 21, 1<<31 - 1, 1 << 31, tree.MaxID, 1<<33 - 1, 1 << 33, 1<<33 + 1, 1 << 40, 1<<62 + 12345}

// nastyEntries have each text and number in each place.
func nastyEntries() []*tree.Entry {
	file := func(change func(*tree.Entry)) *tree.Entry {
		e := &tree.Entry{Path: "file", Type: tree.Regular, Mode: 0o644, ModTime: 1, Uname: "root", Gname: "root"}
		change(e)
		return e
	}
	var all []*tree.Entry
	for _, name := range nastyNames() {
		all = append(all,
			file(func(e *tree.Entry) { e.Path = name }),
			file(func(e *tree.Entry) { e.Path, e.Type = name, tree.Dir }),
			file(func(e *tree.Entry) { e.Linkname, e.Type = name, tree.Symlink }),
			file(func(e *tree.Entry) { e.Path, e.Linkname, e.Type = name, "/"+name, tree.Symlink }),
			file(func(e *tree.Entry) { e.Uname = name }),
			file(func(e *tree.Entry) { e.Gname = name }))
	}
	for _, n := range nastyNumbers {
		if n <= tree.MaxID {
			all = append(all,
				file(func(e *tree.Entry) { e.UID = uint32(n) }),
				file(func(e *tree.Entry) { e.GID = uint32(n) }))
		}
		all = append(all,
			file(func(e *tree.Entry) { e.Size = n }),
			file(func(e *tree.Entry) { e.ModTime = n }),
			file(func(e *tree.Entry) { e.Size, e.ModTime, e.Path, e.UID = n, n, "\xff", tree.MaxID }))
	}
	for _, mode := range []uint32{0, 0o7, 0o777, 0o4755, 0o2755, 0o1777, 0o7777} {
		all = append(all, file(func(e *tree.Entry) { e.Mode = mode }))
	}
	for _, kind := range []tree.Type{tree.Char, tree.Block, tree.FIFO} {
		all = append(all, file(func(e *tree.Entry) { e.Type, e.Devmajor, e.Devminor = kind, 255, 1<<20 }))
	}
	return all
}

// pythonHeaders gives what Python's tarfile writes for the entries.
func pythonHeaders(t *testing.T, entries []*tree.Entry) []byte {
	t.Helper()
	python := testtools.Need(t, "python3")
	var list []map[string]any
	for _, e := range entries {
		list = append(list, map[string]any{
			"name": hex.EncodeToString([]byte(e.Path)), "linkname": hex.EncodeToString([]byte(e.Linkname)),
			"uname": hex.EncodeToString([]byte(e.Uname)), "gname": hex.EncodeToString([]byte(e.Gname)),
			"type": string(rune(e.Type)), "mode": e.Mode, "uid": e.UID, "gid": e.GID, "size": e.Size,
			"mtime": e.ModTime, "devmajor": e.Devmajor, "devminor": e.Devminor,
		})
	}
	input, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "testdata/pythontar.py")
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python: %v\n%s", err, stderr.String())
	}
	return out
}

// headers gives the blocks that the encoder writes before each entry's
// content.
func headers(t testing.TB, d layer.Dialect, prefix string, entries ...*tree.Entry) [][]byte {
	t.Helper()
	var out bytes.Buffer
	w := layer.NewWriter(&out, d, prefix)
	ends := make([]int64, len(entries))
	for i, e := range entries {
		if err := w.WriteHeader(e); err != nil {
			t.Fatal(err)
		}
		ends[i] = w.Size()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var blocks [][]byte
	start := int64(0)
	for _, end := range ends {
		blocks = append(blocks, out.Bytes()[start:end])
		start = end
	}
	return blocks
}

// TestPAXHeadersArePythons: nixpkgs writes store layers with Python's tarfile.
func TestPAXHeadersArePythons(t *testing.T) {
	entries := nastyEntries()
	want := pythonHeaders(t, entries)
	for i, got := range headers(t, layer.PAX, "", entries...) {
		if !bytes.HasPrefix(want, got) {
			t.Fatalf("entry %s:\n got %q\nwant %q …", short(entries[i]), got, want[:min(len(got), len(want))])
		}
		want = want[len(got):]
	}
	if len(want) > 0 {
		t.Errorf("Python writes %d bytes more", len(want))
	}
}

// short describes an entry in a line.
func short(e *tree.Entry) string {
	return fmt.Sprintf("%c %.40q -> %.40q, mode %#o, owner %d:%d %.40q:%.40q, size %d, time %d",
		e.Type, e.Path, e.Linkname, e.Mode, e.UID, e.GID, e.Uname, e.Gname, e.Size, e.ModTime)
}
