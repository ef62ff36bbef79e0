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
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/hostile"
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
	base, err := a.Open(t.Context(), 0)
	if err != nil {
		return nil, err
	}
	var contents []string
	for _, l := range base.Layers() {
		var b bytes.Buffer
		if err := l.Write(context.Background(), &b); err != nil {
			return nil, err
		}
		contents = append(contents, b.String())
	}
	return contents, nil
}

func packed(t *testing.T, algorithm compress.Algorithm, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := compress.Compression{Algorithm: algorithm}.NewWriter(t.Context(), &b)
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
		"plain": plain, "gzip": packed(t, compress.Gzip, plain), "zstd": packed(t, compress.Zstd, plain),
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
	gz := packed(t, compress.Gzip, plain)
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"empty":             {nil, "is empty"},
		"garbage":           {bytes.Repeat([]byte("x"), 2000), "invalid tar header"},
		"cut":               {plain[:1100], "EOF"},
		"cut after member":  {plain[:len(plain)-1024], "cut short"},
		"cut in its end":    {plain[:len(plain)-512], "cut short"},
		"cut of zeros":      {makeTar(append(sound("one"), part{name: "z", content: strings.Repeat("\x00", 2048)})...)[:len(plain)-1024+512+1024], "EOF"},
		"zeros, no end":     {makeTar(append(sound("one"), part{name: "z", content: strings.Repeat("\x00", 2048)})...)[:len(plain)-1024+512+2048], "cut short"},
		"more after it":     {append(append(bytes.Clone(plain), make([]byte, 9000)...), 'x'), "more follows"},
		"another after it":  {append(bytes.Clone(plain), plain...), "more follows"},
		"more after gzip":   {append(bytes.Clone(gz), "garbage"...), "gzip"},
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

// TestReadStream: a stream is read to its end, and only its end shows that it is
// sound.
func TestReadStream(t *testing.T) {
	plain := makeTar(sound("one", "two")...)
	padded := append(bytes.Clone(plain), make([]byte, 20000)...)
	for name, data := range map[string][]byte{
		"plain": plain, "padded": padded, "gzip": packed(t, compress.Gzip, padded), "zstd": packed(t, compress.Zstd, plain),
	} {
		stream := iotest.OneByteReader(bytes.NewReader(data))
		a, err := Read(t.Context(), "standard input", stream, t.TempDir())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		img, err := a.Open(t.Context(), 0)
		if err != nil || len(img.Layers()) != 2 {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := img.Layers()[1].Info(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n, err := stream.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%s: the stream is left at %d, %v", name, n, err)
		}
		a.Close()
	}
	broken := iotest.TimeoutReader(iotest.OneByteReader(bytes.NewReader(plain)))
	for name, stream := range map[string]io.Reader{
		"broken": broken, "cut": bytes.NewReader(plain[:len(plain)-1024]), "more": bytes.NewReader(append(bytes.Clone(plain), 'x')),
	} {
		if _, err := Read(t.Context(), "standard input", stream, t.TempDir()); err == nil || !strings.Contains(err.Error(), `"standard input"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// hybrid is an archive as Docker 25 and later write it: manifest.json names
// the blobs of an OCI layout.
func hybrid(t *testing.T, algorithm compress.Algorithm) []part {
	t.Helper()
	tar := makeTar(part{name: "f", content: "content"})
	blob := tar
	if algorithm != compress.None {
		blob = packed(t, algorithm, tar)
	}
	config := fmt.Sprintf(`{"config": {}, "rootfs": {"type": "layers", "diff_ids": [%q]}}`, digest.FromBytes(tar))
	blobName, configName := "blobs/sha256/"+digest.FromBytes(blob).Encoded(), "blobs/sha256/"+digest.FromString(config).Encoded()
	return []part{
		{name: "blobs/", kind: tarDir}, {name: "blobs/sha256/", kind: tarDir},
		{name: configName, content: config}, {name: blobName, content: string(blob)},
		{name: "index.json", content: "{}"}, {name: "oci-layout", content: `{"imageLayoutVersion": "1.0.0"}`},
		{name: "manifest.json", content: fmt.Sprintf(`[{"Config": %q, "RepoTags": ["a:b"], "Layers": [%q], "LayerSources": {}}]`, configName, blobName)},
	}
}

const tarDir = tar.TypeDir

func TestReadHybrid(t *testing.T) {
	content := string(makeTar(part{name: "f", content: "content"}))
	for algorithm, mediaType := range map[compress.Algorithm]string{
		compress.None: v1.MediaTypeImageLayer, compress.Gzip: v1.MediaTypeImageLayerGzip, compress.Zstd: v1.MediaTypeImageLayerZstd,
	} {
		parts := hybrid(t, algorithm)
		if got, err := readAll(t, makeTar(parts...)); err != nil || len(got) != 1 || got[0] != content {
			t.Errorf("%s: %.40q, %v", algorithm, got, err)
		}
		a, err := Read(t.Context(), "a", bytes.NewReader(makeTar(parts...)), "")
		if err != nil {
			t.Fatal(err)
		}
		img, err := a.Open(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		blob := parts[3]
		want := v1.Descriptor{MediaType: mediaType, Digest: digest.FromString(blob.content), Size: int64(len(blob.content))}
		if got := img.StoredLayers()[0].Stored(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: stored as %+v, want %+v", algorithm, got, want)
		}
		written := image.Named{Image: img, Names: image.Names{RepoTags: []string{"a:b"}}}
		var out bytes.Buffer
		if err := Write(t.Context(), &out, written, Options{}); err != nil {
			t.Errorf("%s: write: %v", algorithm, err)
		}
		if got, err := readAll(t, out.Bytes()); err != nil || len(got) != 1 || got[0] != content {
			t.Errorf("%s: written and read again: %.40q, %v", algorithm, got, err)
		}
		a.Close()

		for i, what := range map[int]string{2: "config", 3: "blob"} {
			bad := hybrid(t, algorithm)
			other := []byte(bad[i].content)
			other[len(other)-1] ^= 1
			bad[i].content = string(other)
			var mismatch *layer.DigestError
			if _, err := readAll(t, makeTar(bad...)); err == nil || algorithm == compress.None && !errors.As(err, &mismatch) {
				t.Errorf("%s: another %s: %v", algorithm, what, err)
			}
		}
	}
}

func TestDigestErrorIsTyped(t *testing.T) {
	_, err := readAll(t, makeTar(with(sound("one"), "l0/layer.tar", setContent("two"))...))
	var mismatch *layer.DigestError
	if !errors.As(err, &mismatch) || mismatch.Got != digest.FromString("two") {
		t.Errorf("%v is not a *layer.DigestError", err)
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

// TestWriteAndRead: what is written can be read again, and writing it once more
// gives the same.
func TestWriteAndRead(t *testing.T) {
	tiny := func(name string) *layer.Layer {
		return layer.New(func() tree.Seq {
			return func(yield func(*tree.Entry, error) bool) {
				yield(&tree.Entry{Path: name, Type: tree.Dir, Mode: 0o755}, nil)
			}
		}, layer.Options{Title: name})
	}
	one, two := tiny("one"), tiny("two")
	img := image.Named{Names: image.Names{RepoTags: []string{"example/app"}}, Image: image.New(image.Description{
		Layers: []image.Layer{one, two, one}, History: make([]image.History, 3),
		Created: "1970-01-01T00:00:01+00:00", Architecture: "amd64", OS: "linux", ModTime: 1,
	})}
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

// TestSameNames: layers from several archives with the same names, or with
// another member's name, are all in the archive that is written from them.
func TestSameNames(t *testing.T) {
	own := digest.FromString("third").Encoded() + "/layer.tar"
	archives := [][]part{
		sound("first"),
		sound("second"),
		with(with(sound("other"), "l0/layer.tar", func(p *part) { p.name = own }), "manifest.json", func(p *part) { p.content = strings.Replace(p.content, "l0/layer.tar", own, 1) }),
		sound("third"),
		with(with(sound("last"), "l0/layer.tar", func(p *part) { p.name = "l.json" }), "manifest.json", func(p *part) { p.content = strings.Replace(p.content, "l0/layer.tar", "l.json", 1) }),
		sound("first"),
	}
	var images []image.Named
	for i, parts := range archives {
		a, err := Read(t.Context(), fmt.Sprint(i), bytes.NewReader(makeTar(parts...)), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		img, err := a.Open(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, image.Named{Image: img})
	}
	var out bytes.Buffer
	if err := WriteAll(t.Context(), &out, images, Options{}); err != nil {
		t.Fatal(err)
	}
	a, err := Read(t.Context(), "all", &out, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for i, want := range []string{"first", "second", "other", "third", "last", "first"} {
		img, err := a.Open(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := img.Layers()[0].Write(t.Context(), &b); err != nil || b.String() != want {
			t.Errorf("image %d: %q, %v; want %q", i, b.String(), err, want)
		}
	}
}

// FuzzOpen: whatever the bytes, an archive that can be read has the layers that
// its config lists; it reads the same from a stream, and after it is written
// again.
func FuzzOpen(f *testing.F) {
	for _, c := range hostile.ArchiveCases() {
		if len(c.Data) <= 16<<10 {
			f.Add(c.Data)
		}
	}
	f.Add(makeTar(sound("one")...))
	f.Add(makeTar(with(sound("one"), "l0/layer.tar", func(p *part) { *p = part{name: p.name, kind: tar.TypeSymlink, link: "x"} })...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if compress.Detect(data[:min(4, len(data))]) == compress.None {
			data = hostile.Sums(data)
		}
		contents, err := readAll(t, data)
		fromStream, streamErr := readStream(t, data)
		if (err == nil) != (streamErr == nil) || !slices.Equal(contents, fromStream) {
			t.Fatalf("%d layers, %v; from a stream %d, %v", len(contents), err, len(fromStream), streamErr)
		}
		if err != nil {
			return
		}
		a, err := Read(t.Context(), "a", bytes.NewReader(data), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		img, err := a.Open(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		for i, content := range contents {
			if d := digest.FromString(content); d != img.DiffIDs[i] {
				t.Errorf("layer %d is %s, and was said to be %s", i, d, img.DiffIDs[i])
			}
		}
		var out bytes.Buffer
		if err := Write(t.Context(), &out, image.Named{Image: img}, Options{}); err != nil {
			t.Skipf("not written: %v", err)
		}
		if again, err := readAll(t, out.Bytes()); err != nil || !slices.Equal(again, contents) {
			t.Errorf("written and read again: %d layers, %v", len(again), err)
		}
	})
}
