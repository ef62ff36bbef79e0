package nixdb

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/internal/nixstore"
)

func somePath(seed string) string {
	h := sha256.Sum256([]byte(seed))
	return "/nix/store/" + nixstore.Base32(h[:20]) + "-" + seed
}

// somePaths makes n paths that refer to themselves and to others, sorted, with
// every field used. The first is a derivation.
func somePaths(n int) []Path {
	paths := make([]Path, n)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range paths {
		name := fmt.Sprintf("package-%d", i)
		p := &paths[i]
		p.PathInfo = nixstore.PathInfo{
			Path: somePath(name), NarHash: digest.FromString("nar" + name), NarSize: uint64(i) * 100, RegistrationTime: 1,
			Deriver: somePath(name + ".drv"), Sigs: []string{"cache.example.org-1:" + hex.EncodeToString(make([]byte, 44))},
		}
		p.References = append(p.References, p.Path)
		for range min(i, 10) {
			p.References = append(p.References, paths[random.IntN(i)].Path)
		}
		slices.Sort(p.References)
		p.References = slices.Compact(p.References)
	}
	paths[0].Outputs = []Output{{Name: "dev", Path: somePath("a-dev")}, {Name: "out", Path: somePath("a")}}
	paths[0].Deriver, paths[0].Sigs = "", []string{"a:1", "b:2"}
	if n > 1 {
		paths[1].CA, paths[1].Ultimate, paths[1].Sigs = "fixed:r:sha256:1xmr8jicvzszfzpz46g37mlpvbzjl2wpwvl2b05psipssyp1sm8h", true, nil
	}
	return sortedPaths(paths)
}

func sortedPaths(paths []Path) []Path {
	return slices.SortedFunc(slices.Values(paths), func(a, b Path) int { return strings.Compare(a.Path, b.Path) })
}

func write(t testing.TB, paths []Path) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(t.Context(), &b, paths); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestWrite: the bytes are a contract, like those of layers. A new version of the
// SQLite module may not change them unnoticed.
func TestWrite(t *testing.T) {
	for n, want := range map[int]string{
		1:    "d7c6eee57f42448ead5527ad57d2c0e877232e63e8e35345c477ece25c54129e",
		1000: "3d5c71f0fe6d825cf295132c23d8feb7e1fc00fc66785d4d4be208bc2d6dc7cd",
	} {
		paths := somePaths(n)
		data := write(t, paths)
		if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != want {
			t.Errorf("the database of %d paths has the hash %s, want %s", n, got, want)
		}
		rand.Shuffle(n, func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
		if !bytes.Equal(write(t, paths), data) {
			t.Errorf("the database of %d paths depends on their order", n)
		}
		got, err := decode(t.Context(), "/nix/store", data, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := sortedPaths(paths); !reflect.DeepEqual(got, want) {
			t.Errorf("what is read of %d paths is not what was written:\n%+v\nwant\n%+v", n, got[0], want[0])
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	twice := append(somePaths(2), somePaths(1)...)
	dangling := somePaths(2)
	dangling[0].References = append(dangling[0].References, somePath("gone"))
	for want, paths := range map[string][]Path{
		`package-0" is given twice`: twice,
		`-gone" is not given`:       dangling,
	} {
		var b bytes.Buffer
		if err := Write(t.Context(), &b, paths); err == nil || !strings.Contains(err.Error(), want) || b.Len() > 0 {
			t.Errorf("error %v and %d bytes, want an error with %q and none", err, b.Len(), want)
		}
	}
	full := errors.New("disk full")
	if err := Write(t.Context(), failing{full}, somePaths(1)); !errors.Is(err, full) {
		t.Errorf("error %v, want %v", err, full)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// BenchmarkWrite writes the database of 10,000 paths.
func BenchmarkWrite(b *testing.B) {
	paths := somePaths(10_000)
	for b.Loop() {
		b.ReportMetric(float64(len(write(b, paths))), "bytes")
	}
}
