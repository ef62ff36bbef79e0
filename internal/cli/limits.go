package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/cmdline"
)

// limits limits the unpacked size of input, which its compressed size does not tell.
type limits struct {
	unpacked cmdline.Size
	entries  int
}

func (l *limits) register(cmd *cobra.Command) {
	generalGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.Var(&l.unpacked, "max-unpacked", "`SIZE`: most that the layers of an image, an archive or a tarball may unpack to, such as 500MB or 20GiB")
		cmdline.ShowDefault(f, "max-unpacked", "64GiB")
		f.IntVar(&l.entries, "max-entries", 0, "`NUMBER`: most files that the layers of an image, or a tarball, may have, with 256 bytes of names and attributes for each")
		cmdline.ShowDefault(f, "max-entries", "2000000, or 10000000 for a tarball")
	})
}

func (l *limits) check() error {
	if l.entries < 0 {
		return cmdline.Usage(fmt.Errorf("--max-entries %d: expected a number above 0", l.entries))
	}
	return nil
}
