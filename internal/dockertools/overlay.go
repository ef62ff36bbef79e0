package dockertools

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/treefile"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// overlayRun is a run of runWithOverlay: scripts that work with an image's file system
// in mnt, and with their changes to it in layer.
type overlayRun struct {
	*Tools
	spec    *spec.Spec
	closers []io.Closer
}

// runWithOverlay makes the output of runWithOverlay. Each script finds the directories in its
// working directory, and leaves the output at $out, also for the next script.
func (t *Tools) runWithOverlay(ctx context.Context, a *attributes) error {
	r := &overlayRun{Tools: t}
	defer func() {
		for _, c := range r.closers {
			c.Close()
		}
	}()
	if err := r.parse(a); err != nil {
		return err
	}
	base := []*tree.Entry{tree.NewDir(".", 0o755)}
	if a.Image != "" {
		img, err := t.image(ctx, a)
		if err != nil {
			return err
		}
		overlay, err := img.Files(ctx, t.places().OverlayOptions())
		if err != nil {
			return err
		}
		r.closers = append(r.closers, overlay)
		if err := overlay.Spool(ctx); err != nil {
			return err
		}
		base = overlay.Entries
	}
	before, err := r.run(ctx, "preMount", a.PreMount, []*tree.Entry{tree.NewDir(".", 0o755), tree.NewDir("layer", 0o755)})
	if err != nil {
		return err
	}
	mounted, err := tree.Merge(ctx, tree.MergeOptions{Conflicts: tree.ConflictLast}, base, tree.Sub(before, "layer"))
	if err != nil {
		return err
	}
	after, err := r.runWith(ctx, "postMount", a.PostMount, tree.Without(before, "layer"), "mnt", mounted)
	if err != nil {
		return err
	}
	changed, err := tree.Diff(ctx, base, tree.Sub(after, "mnt"))
	if err != nil {
		return err
	}
	files, whiteouts := tree.Whiteouts(changed)
	rest := append(tree.Without(after, "mnt"), deleted(whiteouts))
	last, err := r.runWith(ctx, "postUmount", a.PostUmount, rest, "layer", files)
	if err != nil {
		return err
	}
	return r.write(ctx, a.out(), last)
}

// parse makes the spec whose shell and path run the scripts.
func (r *overlayRun) parse(a *attributes) (err error) {
	settings := []spec.Setting{set("name", "overlay"), set("mtime", "@"+strconv.FormatInt(a.MTime, 10))}
	if a.Shell != "" {
		settings = append(settings, set("shell", a.Shell))
	}
	if a.Path != "" {
		settings = append(settings, set("path", a.Path))
	}
	r.spec, err = spec.Parse(nil, spec.Options{Settings: settings, Architecture: r.platform().Architecture})
	return err
}

// runWith runs a script in a directory that has entries at dir, and rest.
func (r *overlayRun) runWith(ctx context.Context, name, script string, rest []*tree.Entry, dir string, entries []*tree.Entry) ([]*tree.Entry, error) {
	if len(entries) == 0 {
		entries = []*tree.Entry{tree.NewDir(".", 0o755)}
	}
	placed, err := tree.Place(entries, "/"+dir)
	if err != nil {
		return nil, err
	}
	all, err := tree.Merge(ctx, tree.MergeOptions{Conflicts: tree.ConflictLast}, rest, placed)
	if err != nil {
		return nil, err
	}
	return r.run(ctx, name, script, all)
}

// run runs a script as root in a directory, and returns what is there afterwards.
func (r *overlayRun) run(ctx context.Context, name, script string, entries []*tree.Entry) ([]*tree.Entry, error) {
	if strings.TrimSpace(script) == "" {
		return entries, nil
	}
	step := &sandbox.Step{
		Name: name, Script: script, Tree: entries, Root: sandbox.HostTools, FakeRoot: true,
		Env: []string{"out=" + sandbox.TreeDir + "/out"},
	}
	steps := r.opts.Steps
	if err := assemble.CompleteStep(step, r.spec, assemble.Options{Root: r.opts.Root, Steps: steps}); err != nil {
		return nil, err
	}
	runner, err := steps.Runner(r.spec.Isolation)
	if err != nil {
		return nil, err
	}
	out := steps.OutputOf(name)
	defer out.Close()
	step.Stdout, step.Stderr = out, out
	res, err := runner.Run(ctx, step)
	if err != nil {
		return nil, err
	}
	r.closers = append(r.closers, res)
	return res.Tree, nil
}

// write writes what the scripts left at $out: a file or a directory.
func (r *overlayRun) write(ctx context.Context, name string, entries []*tree.Entry) error {
	e := tree.Find(entries, "out")
	switch {
	case e == nil:
		return errors.New("the scripts made nothing at $out")
	case e.Type == tree.Dir:
		return r.writeTree(ctx, &treefile.Output{Path: name + "/"}, tree.Sub(entries, "out"), tree.WriteOptions{})
	case e.Type != tree.Regular:
		return errors.New("what the scripts made at $out is neither a file nor a directory")
	}
	f, err := e.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	return r.places().Output(name)(func(w io.Writer) error {
		if file, ok := w.(*os.File); ok && e.Mode&0o100 != 0 {
			if err := file.Chmod(0o755); err != nil {
				return err
			}
		}
		_, err := io.Copy(w, f)
		return err
	})
}

// deleted returns a file that lists what a layer deletes: a tree cannot express that.
func deleted(whiteouts []*tree.Entry) *tree.Entry {
	var list strings.Builder
	for _, e := range whiteouts {
		name, _ := tree.Hidden(e)
		list.WriteString(name + "\n")
	}
	return tree.NewFile("deleted", 0o644, list.String())
}
