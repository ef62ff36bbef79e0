package cli

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/internal/base"
	"github.com/varve-image/varve/internal/base/lockfile"
	"github.com/varve-image/varve/internal/cmdline"
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

// completeImage offers places of images, and the images in the place that text begins with.
func (e *environment) completeImage(cmd *cobra.Command, _ []string, text string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if strings.HasPrefix(text, "~") { // the shell expands it
		return nil, cobra.ShellCompDirectiveDefault
	}
	return cmdline.InTime(cmd.Context(), func(ctx context.Context) []string {
		return place.Complete(ctx, text, lockedNames(), place.Options{Env: e.streams.Getenv, TempDir: e.tempDir()})
	})
}

// completeRegistry offers the start of a reference to a registry.
func completeRegistry(_ *cobra.Command, _ []string, text string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return cmdline.StartingWith(text, []string{"docker://"}), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completeLocked offers the references in ./varve.lock.
func completeLocked(cmd *cobra.Command, _ []string, text string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return cmdline.InTime(cmd.Context(), func(context.Context) []string { return cmdline.StartingWith(text, lockedNames()) })
}

// lockedNames returns the references in ./varve.lock.
func lockedNames() []string {
	f, err := base.ReadLock(lockfile.Name)
	if err != nil {
		return nil
	}
	return slices.Collect(maps.Keys(f.Images))
}
