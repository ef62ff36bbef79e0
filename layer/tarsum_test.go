package layer_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/varve-image/varve/internal/goldenstore"
	"github.com/varve-image/varve/internal/hostile"
	"github.com/varve-image/varve/layer"
)

// goldenLayers writes the store layers of a golden conf.json, and the top layer,
// which is the same for all.
func goldenLayers(t *testing.T, root, name string) [][]byte {
	t.Helper()
	data, err := os.ReadFile("../internal/place/dockerarchive/testdata/golden/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var conf struct {
		UID, GID     string
		Uname, Gname string
		MTime        time.Time
		StoreLayers  [][]string `json:"store_layers"`
	}
	if err := json.Unmarshal(data, &conf); err != nil {
		t.Fatal(err)
	}
	id := func(s string) uint32 {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(n)
	}
	var tars [][]byte
	for _, paths := range conf.StoreLayers {
		l := layer.Store(paths, layer.StoreOptions{
			UID: id(conf.UID), GID: id(conf.GID), Uname: conf.Uname, Gname: conf.Gname, ModTime: conf.MTime.Unix(), Root: root,
		})
		tars = append(tars, writeLayer(t, l))
	}
	top, err := os.ReadFile(root + goldenstore.Path("top-customisation-layer") + "/layer.tar")
	if err != nil {
		t.Fatal(err)
	}
	return append(tars, top)
}

func tarSum(data []byte) (string, error) {
	return layer.TarSum(context.Background(), bytes.NewReader(data))
}

// TestTarSumGolden holds TarSum against what Docker's said of the same layers.
// That it finds them by their digests also shows that these are nixpkgs' bytes.
func TestTarSumGolden(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	if _, err := goldenstore.Make(root); err != nil {
		t.Fatal(err)
	}
	want, met := map[string]string{}, map[string]bool{}
	sums, err := os.ReadFile("testdata/tarsum.sums")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(sums)) {
		fields := strings.Fields(line)
		want[strings.TrimPrefix(fields[1], "sha256:")] = fields[0]
	}
	for _, name := range []string{"names", "owner", "owner-large"} {
		for i, data := range goldenLayers(t, root, name) {
			got, err := tarSum(data)
			if err != nil {
				t.Fatal(err)
			}
			if w := want[sha(data)]; got != w {
				t.Errorf("%s, layer %d (%s): %s, want %q", name, i+1, sha(data), got, w)
			}
			met[sha(data)] = true
		}
	}
	for digest := range want {
		if !met[digest] {
			t.Errorf("no golden layer has the digest %s", digest)
		}
	}
}

// tarOf makes a tar of the entries with archive/tar.
func tarOf(t testing.TB, headers ...*tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, hdr := range headers {
		if err := w.WriteHeader(hdr); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bytes.Repeat([]byte("x"), int(hdr.Size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestTarSumSees(t *testing.T) {
	base := func() *tar.Header {
		return &tar.Header{Name: "../name", Typeflag: tar.TypeReg, Mode: 0o644, Size: 3}
	}
	sum := func(headers ...*tar.Header) string {
		s, err := tarSum(tarOf(t, headers...))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	other := &tar.Header{Name: "other", Typeflag: tar.TypeDir}
	if sum(base(), other) != sum(other, base()) {
		t.Error("the order of entries shows")
	}
	later := base()
	later.ModTime = later.ModTime.AddDate(2000, 0, 0)
	if sum(base()) != sum(later) {
		t.Error("the time shows")
	}
	named := base()
	named.Uname, named.Gname = "user", "users"
	if sum(base()) != sum(named) {
		t.Error("the owner's names show")
	}
	for name, change := range map[string]func(*tar.Header){
		"name":    func(h *tar.Header) { h.Name = "n" },
		"mode":    func(h *tar.Header) { h.Mode = 0o600 },
		"uid":     func(h *tar.Header) { h.Uid = 1 },
		"gid":     func(h *tar.Header) { h.Gid = 1 },
		"size":    func(h *tar.Header) { h.Size = 4 },
		"content": func(h *tar.Header) { h.Size, h.Typeflag = 0, tar.TypeFifo },
		"link":    func(h *tar.Header) { h.Size, h.Typeflag, h.Linkname = 0, tar.TypeSymlink, "x" },
		"xattr":   func(h *tar.Header) { h.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "1"} },
	} {
		h := base()
		change(h)
		if sum(base()) == sum(h) {
			t.Errorf("the %s does not show", name)
		}
	}
}

func TestTarSumRefuses(t *testing.T) {
	good := tarOf(t, &tar.Header{Name: "a", Size: 700}, &tar.Header{Name: "b", Size: 1})
	if _, err := tarSum(good); err != nil {
		t.Fatal(err)
	}
	// Everything short of the end marker's two blocks, at 512 byte boundaries
	// and elsewhere.
	for n := 0; n < len(good); n += 128 {
		if sum, err := tarSum(good[:n]); err == nil {
			t.Errorf("the first %d of %d bytes have the sum %s", n, len(good), sum)
		}
	}
	for name, data := range map[string][]byte{
		"text":         bytes.Repeat([]byte("no tar "), 1000),
		"bad checksum": append([]byte("b"), good[1:]...),
		"gzip":         hostile.Gzip(good),
	} {
		if sum, err := tarSum(data); err == nil {
			t.Errorf("%s: has the sum %s", name, sum)
		}
	}
}

func TestTarSumReader(t *testing.T) {
	good := tarOf(t, &tar.Header{Name: "a", Size: 700})
	want, err := tarSum(good)
	if err != nil {
		t.Fatal(err)
	}
	tail := append(bytes.Clone(good), make([]byte, 9000)...)
	got, err := layer.TarSum(context.Background(), iotest.OneByteReader(bytes.NewReader(tail)))
	if err != nil || got != want {
		t.Errorf("byte by byte, with more zeros: %q, %v; want %q", got, err, want)
	}
	broken := errors.New("broken")
	cut := io.MultiReader(bytes.NewReader(good[:600]), iotest.ErrReader(broken))
	if _, err := layer.TarSum(context.Background(), cut); !errors.Is(err, broken) {
		t.Errorf("a failing reader gives %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := layer.TarSum(ctx, bytes.NewReader(good)); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: %v", err)
	}
}

func FuzzTarSum(f *testing.F) {
	good := tarOf(f, &tar.Header{Name: "dir/", Typeflag: tar.TypeDir}, &tar.Header{Name: "a", Size: 700, Mode: 0o755})
	f.Add(good)
	f.Add(good[:1024])
	f.Add(tarOf(f, &tar.Header{Name: strings.Repeat("ü", 200), PAXRecords: map[string]string{"SCHILY.xattr.user.a": "\x00"}}))
	f.Add(tarOf(f, &tar.Header{Name: strings.Repeat("n", 200), Format: tar.FormatGNU}))
	f.Add([]byte("garbage"))
	f.Fuzz(func(t *testing.T, data []byte) {
		sum, err := tarSum(data)
		if err != nil {
			if sum != "" {
				t.Errorf("a sum %q beside the error %v", sum, err)
			}
			return
		}
		if again, err := tarSum(append(data, "tail"...)); err != nil || again != sum {
			t.Errorf("with bytes after the end: %q, %v; want %q", again, err, sum)
		}
		if !strings.HasPrefix(sum, "tarsum.v1+sha256:") || len(sum) != len("tarsum.v1+sha256:")+64 {
			t.Errorf("%q is not a sum", sum)
		}
	})
}
