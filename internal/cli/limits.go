package cli

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/human"
)

// limits bounds what input may come to, whose compressed size does not tell.
type limits struct {
	unpacked byteSize
	entries  int
}

func (l *limits) register(cmd *cobra.Command) {
	generalGroup.add(cmd, func(f *pflag.FlagSet) {
		f.Var(&l.unpacked, "max-unpacked", "`SIZE`: most that the layers of an image, an archive or a tarball may unpack to, such as 500MB or 20GiB")
		showDefault(f, "max-unpacked", "64GiB")
		f.IntVar(&l.entries, "max-entries", 0, "`NUMBER`: most files that the layers of an image, or a tarball, may have, with 256 bytes of names and attributes for each")
		showDefault(f, "max-entries", "2000000, or 10000000 for a tarball")
	})
}

func (l *limits) check() error {
	if l.entries < 0 {
		return usageError(fmt.Errorf("--max-entries %d: expected a number above 0", l.entries))
	}
	return nil
}

// byteSize is a flag of a size in bytes; 0 is that nothing was said.
type byteSize int64

// Set reads a number with a unit.
func (b *byteSize) Set(text string) error {
	n, err := human.ParseSize(text)
	*b = byteSize(n)
	return err
}

func (b *byteSize) String() string {
	if *b == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*b), 10)
}

// Type names the kind of value.
func (b *byteSize) Type() string { return "size" }
