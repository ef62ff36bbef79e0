package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/base"
	"github.com/varve-image/varve/internal/base/lockfile"
	"github.com/varve-image/varve/internal/cli/specflags"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/problems"
	"github.com/varve-image/varve/spec"
)

func newLock(e *environment) *cobra.Command {
	c := newCommand(e)
	var check, layers, asJSON bool
	flags := &specflags.Flags{}
	var output string
	cmd := &cobra.Command{
		Use:   "lock [SPEC...]",
		Short: "Pin the base images of specs in varve.lock beside them, or their layers in layers.lock",
		Long: `lock looks up the registry images that each spec names as fromImage and previous, and
writes their digests for every platform to varve.lock in the spec's folder. From then on
builds take these images, whatever their tags name by then. Entries of other specs stay
as they are. Without a SPEC every entry of ./varve.lock is looked up again. --platform is
for specs whose base image has ${arch} in its name.

With --layers it looks up no image. It divides the store paths of each spec's image as
build does, and writes which of them share a layer to the file that the spec's previous
names, or to layers.lock in the spec's folder. It fetches a base that is not in the cache,
and runs scripts, as layers does.`,
		Example: `  varve lock image.yaml
  varve lock            bring ./varve.lock up to date
  varve lock --check    exit code 1 if that would change it
  varve lock --layers image.yaml`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: cmdline.CompleteArgs(true, completeSpec),
		RunE: c.run(func(ctx context.Context, args []string) error {
			if layers && asJSON {
				return cmdline.Usage(errors.New("--json is for images: the file of --layers is JSON itself"))
			}
			if layers {
				return lockLayers(ctx, c, flags, args, output, check)
			}
			if output != "" {
				return cmdline.Usage(fmt.Errorf("--output is for --layers: %s is beside its spec", lockfile.Name))
			}
			c.lookedUp = []lockData{}
			err := runLock(ctx, c, flags, args, check)
			if asJSON && (err == nil || len(c.lookedUp) > 0) {
				err = errors.Join(err, c.printJSON(c.lookedUp))
			}
			return err
		}),
	}
	registerJSON(cmd, &asJSON, "print a JSON list with an object for each image")
	c.registry.registerPlatform(cmd, "look up the images for `OS/ARCH[/VARIANT]`, or for several, separated by commas", "")
	flags.RegisterArguments(cmd, imageGroup)
	outputGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.BoolVar(&check, "check", false, "write nothing, and fail if something would change")
		f.StringVarP(&output, "output", "o", "", "write the layers to `FILE`, with --layers")
		cmdline.ShowDefault(f, "output", "what previous names, or layers.lock")
		f.BoolVar(&layers, "layers", false, "write which store paths share a layer, for the spec's previous")
	})
	c.registerBuild(cmd)
	return cmd
}

func runLock(ctx context.Context, c *command, flags *specflags.Flags, specs []string, check bool) error {
	if len(specs) == 0 {
		return refreshLock(ctx, c, check)
	}
	wanted := map[string][]string{} // lock files, and the references in each
	for _, name := range specs {
		path, refs, err := lockedReferences(c, flags, name)
		if err != nil {
			return err
		}
		if len(refs) == 0 {
			c.ui.Info("%s: nothing to lock: it names no image of a registry", human.Plain(name))
			continue
		}
		wanted[path] = append(wanted[path], refs...)
	}
	return c.updateLocks(ctx, wanted, check)
}

// lockedReferences returns the images that a spec names and that are in a registry, for
// each platform that was asked for, and the path of the lock file for them.
func lockedReferences(c *command, flags *specflags.Flags, name string) (path string, refs []string, err error) {
	in, err := readInput(c, []string{name})
	if err != nil {
		return "", nil, err
	}
	platforms, err := c.registry.list()
	if err != nil {
		return "", nil, err
	}
	if len(platforms) == 0 {
		platforms = []v1.Platform{{}}
	}
	for _, p := range platforms {
		s, err := flags.Parse(in, hostArchitecture, p)
		if err != nil {
			return "", nil, err
		}
		c.advisePath(in.Name, s)
		for _, named := range append(s.Images(), s.Previous) {
			ref, ok := strings.CutPrefix(named, "docker://")
			if !ok {
				continue
			}
			if ref, err = lockfile.Key(ref); err != nil {
				return "", nil, cmdline.Usage(err)
			}
			refs = append(refs, ref)
		}
	}
	return in.Lock(), refs, nil
}

// advisePath warns of a base that is the path of nothing and looks like an image's name.
func (c *command) advisePath(file string, s *spec.Spec) {
	if strings.HasPrefix(s.FromImage, "docker://") {
		return
	}
	written := s.Written(s.FromImage)
	hints := place.Hints(written)
	if _, err := os.Stat(s.FromImage); len(hints) > 0 && errors.Is(err, fs.ErrNotExist) {
		c.ui.Advise("%s: fromImage: %q is a path, and nothing is there: %s", file, written, hints[0])
	}
}

// refreshLock looks up all entries of the lock file in the working directory.
func refreshLock(ctx context.Context, c *command, check bool) error {
	f, err := base.ReadLock(lockfile.Name)
	if err != nil {
		return err
	}
	if len(f.Images) == 0 {
		return cmdline.Usage(cmdline.Hint(fmt.Errorf("no spec was named, and %q holds no images", lockfile.Name), "varve lock SPEC pins the base image of a spec"))
	}
	return c.updateLocks(ctx, map[string][]string{lockfile.Name: slices.Collect(maps.Keys(f.Images))}, check)
}

// updateLocks looks up the references for each lock file. If all of them were
// found, it writes the files that change, or with check says which those are.
func (c *command) updateLocks(ctx context.Context, wanted map[string][]string, check bool) error {
	updated := map[string]*lockfile.File{}
	var outdated problems.List
	paths := slices.Sorted(maps.Keys(wanted))
	for _, path := range paths {
		u, err := base.UpdateLock(ctx, path, wanted[path], c.places())
		if err != nil {
			return err
		}
		c.tellChanges(path, u)
		if n := u.Changed(); n > 0 {
			updated[path] = u.File
			outdated.Addf("%q is out of date: %s changed", path, human.Count(n, "image"))
		}
	}
	if err := outdated.Err(); check && err != nil {
		return cmdline.Hint(err, "varve lock brings it up to date")
	}
	for _, path := range paths {
		if file := updated[path]; file != nil && !check {
			if err := c.writeLock(path, file); err != nil {
				return err
			}
		}
	}
	return nil
}

// lockData is an image that was looked up, as lock --json prints it.
type lockData struct {
	File      string `json:"file"`
	Reference string `json:"reference"`
	Digest    string `json:"digest"`
	Change    string `json:"change,omitempty"`
}

// tellChanges reports what became of each reference.
func (c *command) tellChanges(path string, u *base.LockUpdate) {
	for _, change := range u.Changes {
		text := change.Text
		if text == "" {
			text = fmt.Sprintf("unchanged, %s", u.File.Images[change.Reference].Descriptor.Digest)
		}
		c.ui.Info("%s: %s", change.Reference, text)
		c.lookedUp = append(c.lookedUp, lockData{path, change.Reference, string(u.File.Images[change.Reference].Descriptor.Digest), change.Text})
	}
}

func (c *command) writeLock(path string, file *lockfile.File) error {
	data, err := file.Marshal()
	if err != nil {
		return err
	}
	return c.places().Output(filepath.Clean(path))(func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}
