package dockerarchive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// part is a member of an archive that a test makes.
type part struct {
	name, content, link string
	kind                byte
}

func makeTar(parts ...part) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, p := range parts {
		h := &tar.Header{Name: p.name, Typeflag: p.kind, Linkname: p.link, Size: int64(len(p.content)), Mode: 0o644}
		if p.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		w.WriteHeader(h)
		io.WriteString(w, p.content)
	}
	w.Close()
	return b.Bytes()
}

// sound is an archive of one image with the layers' contents.
func sound(layers ...string) []part {
	var ids, names []string
	var parts []part
	for i, content := range layers {
		names = append(names, fmt.Sprintf("%q", fmt.Sprintf("l%d/layer.tar", i)))
		ids = append(ids, fmt.Sprintf("%q", digest.FromString(content)))
		parts = append(parts, part{name: fmt.Sprintf("l%d/layer.tar", i), content: content})
	}
	return append(parts,
		part{name: "c.json", content: `{"config": {}, "rootfs": {"type": "layers", "diff_ids": [` + strings.Join(ids, ", ") + `]}}`},
		part{name: "manifest.json", content: `[{"Config": "c.json", "RepoTags": ["a:b"], "Layers": [` + strings.Join(names, ", ") + `]}]`},
	)
}

func with(parts []part, name string, change func(*part)) []part {
	for i := range parts {
		if parts[i].name == name {
			change(&parts[i])
		}
	}
	return parts
}

func setContent(content string) func(*part) { return func(p *part) { p.content = content } }

// readAll opens an archive and reads every layer of its first image.
func readAll(t *testing.T, data []byte) ([]string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "a.tar")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	temp := t.TempDir()
	defer func() {
		if left, _ := os.ReadDir(temp); len(left) > 0 {
			t.Errorf("temporary files are left: %v", left)
		}
	}()
	a, err := Open(context.Background(), file, temp)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	base, err := a.Image(0)
	if err != nil {
		return nil, err
	}
	var contents []string
	for _, l := range base.Layers {
		var b bytes.Buffer
		if err := l.Write(context.Background(), &b); err != nil {
			return nil, err
		}
		contents = append(contents, b.String())
	}
	return contents, nil
}

func compress(t *testing.T, algorithm layer.Algorithm, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := layer.Compression{Algorithm: algorithm}.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(data)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRead(t *testing.T) {
	plain := makeTar(sound("one", "two")...)
	reversed := sound("one", "two")
	for i, j := 0, len(reversed)-1; i < j; i, j = i+1, j-1 {
		reversed[i], reversed[j] = reversed[j], reversed[i]
	}
	linked := with(sound("one", "one"), "l1/layer.tar", func(p *part) {
		*p = part{name: p.name, kind: tar.TypeSymlink, link: "../l0/layer.tar"}
	})
	for name, data := range map[string][]byte{
		"plain": plain, "gzip": compress(t, layer.Gzip, plain), "zstd": compress(t, layer.Zstd, plain),
		"any order": makeTar(reversed...), "dot names": makeTar(with(sound("one", "two"), "c.json", func(p *part) { p.name = "./c.json" })...),
	} {
		if got, err := readAll(t, data); err != nil || strings.Join(got, ",") != "one,two" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if got, err := readAll(t, makeTar(linked...)); err != nil || strings.Join(got, ",") != "one,one" {
		t.Errorf("symlinked layer: %q, %v", got, err)
	}
}

func TestReadRefuses(t *testing.T) {
	plain := makeTar(sound("one")...)
	gz := compress(t, layer.Gzip, plain)
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"empty":             {nil, "no manifest.json"},
		"garbage":           {bytes.Repeat([]byte("x"), 2000), "invalid tar header"},
		"cut":               {plain[:1100], "EOF"},
		"gzip cut":          {gz[:len(gz)-20], "EOF"},
		"no manifest":       {makeTar(sound("one")[:2]...), "no manifest.json"},
		"two manifests":     {makeTar(append(sound("one"), part{name: "manifest.json", content: "[]"})...), `two different members are called "manifest.json"`},
		"config twice":      {makeTar(append(sound("one"), part{name: "./c.json", content: "{}"})...), `"c.json"`},
		"no image":          {makeTar(part{name: "manifest.json", content: "[]"}), "at least one image"},
		"manifest is a dir": {makeTar(part{name: "manifest.json", kind: tar.TypeDir}), "not a regular file"},
		"case variant":      {makeTar(with(sound("one"), "manifest.json", setContent(`[{"config": "c.json", "Config": "c.json", "Layers": []}]`))...), `field "config": expected "Config"`},
		"repeated key":      {makeTar(with(sound("one"), "manifest.json", setContent(`[{"Config": "c.json", "Config": "c.json", "Layers": []}]`))...), "given twice"},
		"config leads out":  {makeTar(with(sound("one"), "manifest.json", setContent(`[{"Config": "../c.json", "Layers": []}]`))...), "leads out"},
		"layer leads out":   {makeTar(with(sound("one"), "manifest.json", setContent(`[{"Config": "c.json", "Layers": ["/etc/passwd"]}]`))...), "leads out"},
		"link leads out":    {makeTar(with(sound("one"), "l0/layer.tar", func(p *part) { *p = part{name: p.name, kind: tar.TypeSymlink, link: "../../etc/passwd"} })...), "leads out"},
		"link loop":         {makeTar(with(sound("one"), "l0/layer.tar", func(p *part) { *p = part{name: p.name, kind: tar.TypeSymlink, link: "layer.tar"} })...), "too many links"},
		"layer is missing":  {makeTar(sound("one")[1:]...), "file does not exist"},
		"other content":     {makeTar(with(sound("one"), "l0/layer.tar", setContent("two"))...), "expected sha256:"},
		"diff_ids missing":  {makeTar(with(sound("one"), "c.json", setContent(`{"rootfs": {"diff_ids": []}}`))...), "0 diff_ids for 1 layers"},
		"bad diff_id":       {makeTar(with(sound("one"), "c.json", setContent(`{"rootfs": {"diff_ids": ["sha256:../.."]}}`))...), "rootfs.diff_ids[0]"},
		"no rootfs":         {makeTar(with(sound("one"), "c.json", setContent(`{}`))...), "rootfs"},
		"deep config":       {makeTar(with(sound("one"), "c.json", setContent(strings.Repeat("[", 10000)))...), "nested deeper"},
		"large manifest":    {makeTar(part{name: "manifest.json", content: strings.Repeat(" ", maxJSON+1)}), "more than"},
	} {
		if got, err := readAll(t, tt.data); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %q, %v; want an error with %q", name, got, err, tt.want)
		}
	}
}

func TestDigestErrorIsTyped(t *testing.T) {
	_, err := readAll(t, makeTar(with(sound("one"), "l0/layer.tar", setContent("two"))...))
	var mismatch *layer.DigestError
	if !errors.As(err, &mismatch) || mismatch.Got != digest.FromString("two") {
		t.Errorf("%v is no *layer.DigestError", err)
	}
}

func TestOpenDoesNotWait(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), fifo, ""); err == nil {
		t.Error("a FIFO is read")
	}
}

// TestWriteAndRead: what is written is read again, and written once more it is
// the same.
func TestWriteAndRead(t *testing.T) {
	tiny := func(name string) *layer.Layer {
		return layer.New(func() tree.Seq {
			return func(yield func(*tree.Entry, error) bool) {
				yield(&tree.Entry{Path: name, Type: tree.Dir, Mode: 0o755}, nil)
			}
		}, layer.Options{Title: name})
	}
	one, two := tiny("one"), tiny("two")
	img := &image.Image{
		Layers: []image.Layer{one, two, one}, History: make([]image.History, 3),
		Created: "1970-01-01T00:00:01+00:00", Architecture: "amd64", OS: "linux", Repository: "example/app", ModTime: 1,
	}
	var events []image.Event
	var first, second bytes.Buffer
	observe := func(e image.Event) { events = append(events, e) }
	if err := Write(context.Background(), &first, img, Options{Observe: observe}); err != nil {
		t.Fatal(err)
	}
	if len(events) != 6 || events[5].Layer != 3 || !events[5].Done || events[5].Size != 10240 {
		t.Errorf("events: %+v", events)
	}
	layers, err := readAll(t, first.Bytes())
	if err != nil || len(layers) != 3 || layers[0] != layers[2] {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	if n := strings.Count(first.String(), "layer.tar\x00"); n != 2 {
		t.Errorf("%d layers in the archive, want the repeated one once", n)
	}
	if err := Write(context.Background(), &second, img, Options{}); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("written again it differs (%v)", err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(makeTar(sound("one")...))
	f.Add(makeTar(with(sound("one"), "l0/layer.tar", func(p *part) { *p = part{name: p.name, kind: tar.TypeSymlink, link: "x"} })...))
	f.Fuzz(func(t *testing.T, data []byte) {
		readAll(t, data)
	})
}
