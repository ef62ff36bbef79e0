package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/internal/layering"
	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/spec"
)

// maxVersions limits how many closures are compared: all of them are in memory at once.
const maxVersions = 1000

// simulate compares the ways of dividing the closures in a directory.
func simulate(ctx context.Context, c *command, o *layersOptions, args []string) error {
	if len(args) > 0 {
		return cmdline.Usage(fmt.Errorf("--simulate reads closures, not the spec %q: leave it out", args[0]))
	}
	for _, s := range o.spec.Settings {
		if s.Field != "maxLayers" && s.Field != "storeDir" {
			return cmdline.Usage(fmt.Errorf("%s has no effect on --simulate, only --max-layers and --store-dir have", s.Flag))
		}
	}
	s, err := spec.Parse(strings.NewReader("name: simulated"), spec.Options{Settings: o.spec.Settings, Architecture: hostArchitecture})
	if err != nil {
		return err
	}
	versions, err := readVersions(o.simulate, s.StoreDir)
	if err != nil {
		return cmdline.Usage(err)
	}
	n := max(s.MaxLayers-1, 1) // besides the top layer
	ways, err := layering.Simulate(ctx, versions, n)
	if err != nil {
		return err
	}
	if o.json {
		return c.streams.PrintJSON(json.MarshalIndent(ways, "", "  "))
	}
	return c.streams.Print(waysText(ways, versions, n))
}

// readVersions reads the closures in a directory, in the order of their names.
func readVersions(dir, storeDir string) ([]*layering.Graph, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read closures in %q: %w", dir, regfile.Cause(err))
	}
	var versions []*layering.Graph
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if len(versions) == maxVersions {
			return nil, fmt.Errorf("%q has more than %d closures", dir, maxVersions)
		}
		name := filepath.Join(dir, e.Name())
		infos, err := nixstore.ReadClosureFile(storeDir, name)
		if err != nil {
			return nil, err
		}
		if err := checkSizes(infos); err != nil {
			return nil, fmt.Errorf("read closure %q: %w", name, err)
		}
		g, err := layering.NewGraph(nixstore.Nodes(infos))
		if err != nil {
			return nil, fmt.Errorf("read closure %q: %w", name, err)
		}
		versions = append(versions, g)
	}
	if len(versions) == 0 {
		return nil, fmt.Errorf("%q has no closures: write one for each version of the image, as with nix path-info --json -r PATH >%s", dir, filepath.Join(dir, "1.json"))
	}
	return versions, nil
}

// checkSizes refuses a closure without sizes, of which nothing can be added up.
func checkSizes(infos []nixstore.PathInfo) error {
	for _, info := range infos {
		if info.NarSize == 0 {
			return errors.New("it has no size for " + info.Path)
		}
	}
	return nil
}

// waysText returns the ways of dividing as a table.
func waysText(ways []layering.Simulated, versions []*layering.Graph, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, the last of %s, in at most %s\n\n", human.Count(len(versions), "closure"),
		human.Count(len(versions[len(versions)-1].Paths()), "store path"), human.Count(n, "layer"))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "layering\tsent by an update\tof the image\tstored")
	for _, way := range ways {
		name := way.Way
		if way.Planned {
			name += ", previous"
		}
		fmt.Fprintf(w, "%s\t%s\t%.1f %%\t%.3f\n", name, human.Size(int64(way.MeanSent)), 100*way.Share, way.Stored)
	}
	w.Flush()
	return b.String()
}
