package cli

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/internal/base"
	"github.com/varve-image/varve/internal/base/lockfile"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/spec"
)

// platformNames returns the platforms that images are made for.
func platformNames() []string {
	names := spec.Choices("architecture")
	for i, name := range names {
		names[i] = spec.Choices("os")[0] + "/" + name
	}
	return names
}

// completeSpec offers the files that specs are in.
func completeSpec(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return []cobra.Completion{"yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt
}

// completeImage offers places of images, and the images in the one that text begins with.
func (g *global) completeImage(cmd *cobra.Command, _ []string, text string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if strings.HasPrefix(text, "~") { // the shell knows where that is
		return nil, cobra.ShellCompDirectiveDefault
	}
	return cmdline.InTime(cmd.Context(), func(ctx context.Context) []string {
		found := g.imagesAt(ctx, text)
		if !strings.ContainsAny(text, ":/") {
			found = append(cmdline.StartingWith(text, transports()), found...)
		}
		return found
	})
}

// transports returns how references to images begin. A layer alone is not an image.
func transports() []string {
	return slices.DeleteFunc(place.Names(), func(t string) bool { return transportOf(t) == place.LayerDir })
}

// transportOf returns the transport that a reference begins with so.
func transportOf(start string) place.Transport {
	return place.Transport(strings.TrimRight(start, ":/"))
}

// completeRegistry offers the start of a reference to a registry.
func completeRegistry(_ *cobra.Command, _ []string, text string) ([]cobra.Completion, cobra.ShellCompDirective) {
	all := slices.DeleteFunc(place.Names(), func(t string) bool { return transportOf(t) != place.Registry })
	return cmdline.StartingWith(text, all), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completeLocked offers the references in ./varve.lock.
func completeLocked(cmd *cobra.Command, _ []string, text string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return cmdline.InTime(cmd.Context(), func(context.Context) []string { return cmdline.StartingWith(text, lockedNames("")) })
}

// imagesAt returns what text, which may begin with a transport, can go on to.
func (g *global) imagesAt(ctx context.Context, text string) []string {
	all := transports()
	i := slices.IndexFunc(all, func(start string) bool { return strings.HasPrefix(text, start) })
	if i < 0 {
		return paths("", text, true)
	}
	start, rest := all[i], strings.TrimPrefix(text, all[i])
	switch t := transportOf(start); {
	case t == place.Registry:
		return cmdline.StartingWith(text, lockedNames(start))
	case t.IsEngine():
		return cmdline.StartingWith(text, g.namesAt(ctx, start, place.Ref{Transport: t}))
	case t == place.OCIDir && strings.Contains(rest, ":"):
		dir, _, _ := strings.Cut(rest, ":")
		return cmdline.StartingWith(text, g.namesAt(ctx, start+dir+":", place.Ref{Transport: t, Path: dir}))
	default:
		return paths(start, rest, t == place.DockerArchive || t == place.OCIArchive)
	}
}

// namesAt returns the names of the images of a place, each after start.
func (g *global) namesAt(ctx context.Context, start string, ref place.Ref) []string {
	names, err := place.List(ctx, ref, place.Options{Env: g.env, TempDir: g.tempDir()})
	if err != nil { // there is nobody to tell
		return nil
	}
	for i, name := range names {
		names[i] = start + name
	}
	return names
}

// lockedNames returns the references in ./varve.lock, each after start.
func lockedNames(start string) []string {
	f, err := base.ReadLock(lockfile.Name)
	if err != nil {
		return nil
	}
	var names []string
	for name := range f.Images {
		names = append(names, start+name)
	}
	return names
}

// paths returns the directories, and the archives if they are wanted, whose path begins
// with text, each after start.
func paths(start, text string, archives bool) []string {
	dir, begun := filepath.Split(text)
	entries, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return nil
	}
	var found []string
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, begun) || begun == "" && strings.HasPrefix(name, ".") {
			continue
		}
		if st, err := os.Stat(filepath.Join(dir, name)); err == nil && st.IsDir() {
			found = append(found, start+dir+name+"/")
		} else if _, ok := compress.TarName(name); ok && archives {
			found = append(found, start+dir+name)
		}
	}
	return found
}
