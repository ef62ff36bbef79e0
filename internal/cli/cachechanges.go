package cli

import (
	"context"
	"errors"

	"github.com/varve-image/varve/internal/cachedir"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/human"
)

// verifiedData is what cache verify --json prints.
type verifiedData struct {
	Images   int      `json:"images"`
	Blobs    int      `json:"blobs"`
	Files    int      `json:"files"`
	Problems []string `json:"problems"`
}

func runCacheVerify(ctx context.Context, c *command, asJSON bool) error {
	dir, err := c.existingCache()
	if err != nil {
		return err
	}
	v := &cachedir.Verified{}
	var found []error
	if dir != "" {
		if v, err = cachedir.Verify(ctx, dir, func(err error) { found = append(found, err) }, c.warn); err != nil {
			return err
		}
	}
	if asJSON {
		data := verifiedData{v.Images, v.Blobs, v.Items, []string{}}
		for _, err := range found {
			data.Problems = append(data.Problems, err.Error())
		}
		if err := c.printJSON(data); err != nil {
			return err
		}
	}
	if len(found) > 0 {
		return cmdline.Hint(errors.Join(found...), "a build that may use the network fetches and computes again what is missing; varve cache prune --all removes everything")
	}
	if dir != "" {
		c.ui.Info("%s of %s, and %s of what was computed, are what their digests say",
			human.Count(v.Blobs, "blob"), human.Count(v.Images, "image"), human.Count(v.Items, "file"))
	}
	return nil
}

// prunedData is what cache prune --json prints.
type prunedData struct {
	DryRun bool     `json:"dryRun"`
	Images []string `json:"images"`
	Blobs  int      `json:"blobs"`
	Files  int      `json:"files"`
	Size   int64    `json:"size"`
}

func runCachePrune(ctx context.Context, c *command, opts cachedir.PruneOptions, asJSON bool) error {
	dir, err := c.existingCache()
	if err != nil {
		return err
	}
	p := &cachedir.Pruned{}
	if dir != "" {
		if p, err = cachedir.Prune(ctx, dir, opts, c.warn); err != nil {
			return err
		}
		c.tellPruned(p, opts.DryRun)
	}
	if !asJSON {
		return nil
	}
	data := prunedData{opts.DryRun, []string{}, p.Blobs, len(p.Items), p.Bytes}
	for _, img := range p.Images {
		data.Images = append(data.Images, img.Title())
	}
	return c.printJSON(data)
}

func (c *command) tellPruned(p *cachedir.Pruned, dryRun bool) {
	done := "removed"
	if dryRun {
		done = "would remove"
	}
	for _, img := range p.Images {
		c.ui.Info("%s %s", done, human.Plain(img.Title()))
	}
	c.ui.Info("%s %s, %s, %s of what was computed: %s", done, human.Count(len(p.Images), "image"), human.Count(p.Blobs, "blob"),
		human.Count(len(p.Items), "file"), human.Size(p.Bytes))
}
