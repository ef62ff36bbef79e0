package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/transfer"
	"github.com/varve-image/varve/internal/ui"
	"github.com/varve-image/varve/spec"
)

// destinations says where the image of a spec goes, by the values of -o; none is one that is
// empty.
func (c *command) destinations(s *spec.Spec, outputs []string) ([]transfer.Destination, error) {
	if len(outputs) == 0 {
		outputs = []string{""}
	}
	var dests []transfer.Destination
	var errs []error
	for _, output := range outputs {
		d, err := c.destinationOf(s, output)
		if err == nil {
			err = c.distinct(dests, d)
		}
		dests, errs = append(dests, d), append(errs, err)
	}
	if c.metadataFile != "" {
		errs = append(errs, outside(c.metadataFile, s), c.checkMetadataApart(dests))
	}
	c.dests = dests
	return dests, errors.Join(errs...)
}

// destinationOf says where the image of a spec goes if -o is output.
func (c *command) destinationOf(s *spec.Spec, output string) (transfer.Destination, error) {
	dest, err := buildDestination(output, s)
	if err != nil {
		return dest, err
	}
	if err := outside(dest.Path, s); err != nil {
		return dest, err
	}
	if err := c.checkDestination(dest); err != nil {
		return dest, err
	}
	c.warnLeftOut(s, dest)
	if dest.Path == "-" && ui.IsTerminal(c.streams.Out) {
		err = cmdline.Usage(cmdline.Hint(fmt.Errorf("an archive is not written to a terminal"), "name a file with -o, or send it to a program"))
	}
	return dest, err
}

// distinct refuses a destination that would replace what another one gets.
func (c *command) distinct(others []transfer.Destination, d transfer.Destination) error {
	for _, other := range others {
		same := other.Ref == d.Ref
		if d.Path != "" && other.Path != "" {
			layouts := d.Transport == place.OCIDir && other.Transport == place.OCIDir
			same = samePath(other.Path, d.Path) && (!layouts || other.Name == d.Name)
		}
		if same {
			return cmdline.Usage(fmt.Errorf("two destinations are %q: each needs a place of its own", d.String()))
		}
	}
	return nil
}

// samePath reports whether two paths are spelled for the same place.
func samePath(a, b string) bool {
	if a == "-" || b == "-" {
		return a == b
	}
	a, errA := filepath.Abs(a)
	b, errB := filepath.Abs(b)
	return errA == nil && errB == nil && a == b
}

// outside refuses a path in a directory that is copied into the image: the next image would
// contain what is written there.
func outside(path string, s *spec.Spec) error {
	copies := slices.Clone(s.CopyToRoot)
	for _, l := range s.Layers {
		copies = append(copies, l.CopyToRoot...)
	}
	var sources []string
	for _, source := range copies {
		if source.OfMachine() {
			sources = append(sources, source.Source)
		}
	}
	return cmdline.OutsideOf(path, sources, "is copied into the image")
}

// checkMetadataApart refuses a metadata file that would replace a destination.
func (c *command) checkMetadataApart(dests []transfer.Destination) error {
	for _, d := range dests {
		if c.metadataFile != "" && d.Path != "" && samePath(d.Path, c.metadataFile) {
			return cmdline.Usage(fmt.Errorf("--metadata-file %q is a destination too: name another file", c.metadataFile))
		}
	}
	return nil
}
