package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/base"
	"github.com/varve-image/varve/internal/cli/specflags"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/internal/layering"
	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/problems"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/spec"
)

// lockLayers divides the store paths of specs as builds do, and writes which of them share a layer
// to the specs' plan files, or to output, or with check says which files would change.
func lockLayers(ctx context.Context, c *command, flags *specflags.Flags, specs []string, output string, check bool) error {
	if len(specs) == 0 {
		return cmdline.Usage(cmdline.Hint(errors.New("no spec was named"), "varve lock --layers SPEC writes the layers of a spec's image to layers.lock"))
	}
	platforms, err := c.registry.list()
	if err != nil {
		return err
	}
	if len(platforms) == 0 {
		platforms = []v1.Platform{{}}
	}
	plans := map[string][][]string{}
	for _, name := range specs {
		in, err := readInput(c, []string{name})
		if err != nil {
			return err
		}
		for _, p := range platforms {
			if err := c.planLayers(ctx, flags, in, p, output, plans); err != nil {
				return err
			}
		}
	}
	return c.updatePlans(plans, check)
}

// planPath returns the file that is to have the layers of a spec's image.
func (c *command) planPath(in *specflags.Input, s *spec.Spec, output string) (string, error) {
	path, named := base.IsPlanFile(s.Previous)
	switch {
	case output != "":
		return output, nil
	case named && s.Local(s.Previous): // as short as people write it
		path = filepath.Join(in.Dir, s.Written(s.Previous))
	case !named:
		path = filepath.Join(in.Dir, layering.PlanName)
	}
	if _, _, stored := nixstore.InStore(s.StoreDir, path); stored {
		return "", cmdline.Usage(cmdline.Hint(fmt.Errorf("%q is in the store, where nothing changes", path), "name the file with -o"))
	}
	if !named {
		c.ui.Advise("%s: builds look at %s if the spec has layering: stable and previous: %s", human.Plain(in.Name), human.Plain(path), layering.PlanName)
	}
	return path, nil
}

// planLayers adds the layers of a spec's image for a platform to plans, by the file that is to have
// them.
func (c *command) planLayers(ctx context.Context, flags *specflags.Flags, in *specflags.Input, p v1.Platform, output string, plans map[string][][]string) error {
	s, err := flags.Parse(in, hostArchitecture, p)
	if err != nil {
		return err
	}
	path, err := c.planPath(in, s, output)
	if err != nil {
		return err
	}
	if _, taken := plans[path]; taken {
		return cmdline.Usage(cmdline.Hint(fmt.Errorf("%q would have the layers of two images", path),
			"give each its own: previous: NAME.lock in the spec, and with several platforms previous: layers-${arch}.lock"))
	}
	result, err := buildParsed(ctx, c, s, in.Lock(), func(o *assemble.Options) { o.OpenPlan = mayLack(o.OpenPlan) })
	if err != nil {
		return err
	}
	defer result.Close()
	layers := [][]string{}
	for _, l := range result.Layers {
		if l.Kind == assemble.KindStore {
			layers = append(layers, l.Paths)
		}
	}
	plans[path] = layers
	return nil
}

// mayLack reads plan files that do not exist as empty ones.
func mayLack(open assemble.OpenPlanFunc) assemble.OpenPlanFunc {
	return func(ctx context.Context, ref spec.Base) ([][]string, error) {
		layers, err := open(ctx, ref)
		if _, file := base.IsPlanFile(ref.Reference); file && errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return layers, err
	}
}

// updatePlans writes the plan files that change, or with check says which those are.
func (c *command) updatePlans(plans map[string][][]string, check bool) error {
	changed := map[string][]byte{}
	var outdated problems.List
	for _, path := range slices.Sorted(maps.Keys(plans)) {
		data, err := layering.FormatPlan(plans[path])
		if err != nil {
			return err
		}
		old, err := regfile.Read(path, layering.MaxPlanSize)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return cmdline.FileUsage(fmt.Errorf("read %q: %w", path, regfile.Cause(err)))
		}
		if err == nil && string(old) == string(data) {
			c.ui.Info("%s: unchanged, %s", human.Plain(path), human.Count(len(plans[path]), "layer"))
			continue
		}
		known, _ := layering.ParsePlan(old) // of what is no plan everything is new
		c.ui.Info("%s: %s, of which %d are new", human.Plain(path), human.Count(len(plans[path]), "layer"), countNew(known, plans[path]))
		changed[path] = data
		outdated.Addf("%q is out of date: its layers changed", path)
	}
	if err := outdated.Err(); check && err != nil {
		return cmdline.Hint(err, "varve lock --layers brings it up to date")
	}
	if check {
		return nil
	}
	for _, path := range slices.Sorted(maps.Keys(changed)) {
		err := c.places().Output(path)(func(w io.Writer) error {
			_, err := w.Write(changed[path])
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// countNew counts the layers that are not among known ones.
func countNew(known, layers [][]string) int {
	had := map[string]bool{}
	for _, paths := range known {
		had[strings.Join(paths, "\n")] = true
	}
	n := 0
	for _, paths := range layers {
		if !had[strings.Join(paths, "\n")] {
			n++
		}
	}
	return n
}
