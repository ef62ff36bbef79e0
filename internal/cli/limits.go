package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// limits bounds what input may come to, whose compressed size does not tell.
type limits struct {
	unpacked byteSize
	entries  int
}

func (l *limits) register(f *pflag.FlagSet) {
	f.Var(&l.unpacked, "max-unpacked", "how much the layers of an image, a compressed archive or a tarball may come to, unpacked: `SIZE`, such as 500MB or 20GiB (default 64GiB)")
	f.IntVar(&l.entries, "max-entries", 0, "how many files the layers of an image, or a tarball, may have, with 256 bytes each of names and attributes: `NUMBER` (default 2000000; 10000000 for a tarball)")
}

func (l *limits) check() error {
	if l.entries < 0 {
		return usageError(fmt.Errorf("--max-entries %d: expected a number above 0", l.entries))
	}
	return nil
}

func (g *global) overlayOptions() tree.OverlayOptions {
	return tree.OverlayOptions{TempDir: g.tempDir(), MaxBytes: int64(g.limits.unpacked), MaxEntries: g.limits.entries}
}

func (g *global) tarOptions() tree.TarOptions {
	return tree.TarOptions{TempDir: g.tempDir(), MaxBytes: int64(g.limits.unpacked), MaxEntries: g.limits.entries}
}

// imageBudget is what the layers of one image may come to.
func (g *global) imageBudget() *layer.Budget {
	return image.NewBudget(int64(g.limits.unpacked), g.limits.entries)
}

// byteSize is a flag of a size in bytes; 0 is that nothing was said.
type byteSize int64

// units are those of sizes: powers of 1000, and with an i of 1024 (IEC 80000-13).
var units = map[string]int64{
	"": 1, "k": 1000, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
}

// Set reads a number with a unit.
func (b *byteSize) Set(text string) error {
	digits := strings.TrimRight(text, "BikKMGT")
	unit := strings.TrimSuffix(text[len(digits):], "B")
	if strings.HasPrefix(unit, "K") && unit != "Ki" {
		unit = "k" + unit[1:]
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	factor, ok := units[unit]
	if err != nil || !ok || n <= 0 || n > math.MaxInt64/factor {
		return fmt.Errorf("expected a size above 0, such as 500MB or 20GiB")
	}
	*b = byteSize(n * factor)
	return nil
}

func (b *byteSize) String() string {
	if *b == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*b), 10)
}

// Type names the kind of value.
func (b *byteSize) Type() string { return "size" }
