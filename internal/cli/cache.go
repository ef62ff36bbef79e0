package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/base/cache"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/internal/memo"
	"github.com/varve-image/varve/internal/place"
)

// cacheFlags say where blobs of registries are kept.
type cacheFlags struct {
	dir string
	off bool
	// opened is the cache, once it was asked for.
	opened *cache.Store
	// memo is what was computed earlier; remembers says that it was asked for.
	memo      *memo.Memo
	remembers bool
	// from are images that tell of layers, and pushed what they tell, once they were read.
	from   []string
	pushed *place.Pushed
}

func (f *cacheFlags) register(cmd *cobra.Command) {
	f.registerDir(cmd)
	registryGroup.Add(cmd, func(flags *pflag.FlagSet) {
		flags.BoolVar(&f.off, "no-cache", false, "neither use nor fill the cache")
	})
}

func (f *cacheFlags) registerDir(cmd *cobra.Command) {
	registryGroup.Add(cmd, func(flags *pflag.FlagSet) {
		flags.StringVar(&f.dir, "cache", "", "keep what is fetched from registries in `DIR`")
		cmdline.ShowDefault(flags, "cache", "$XDG_CACHE_HOME/varve")
	})
}

// cacheDir returns the cache's directory by the flags and the environment.
func (c *command) cacheDir() (string, error) {
	if c.cache.dir != "" {
		return filepath.Abs(c.cache.dir)
	}
	if dir := cache.DefaultDir(c.streams.LookupEnv); dir != "" {
		return dir, nil
	}
	return "", cmdline.Usage(cmdline.Hint(errors.New("there is no place for the cache: neither XDG_CACHE_HOME nor HOME is set"),
		"name one with --cache DIR, or let a build do without: --no-cache"))
}

// store opens the cache, which stays open until the command ends; nil means no cache.
func (c *command) store(ctx context.Context) (*cache.Store, error) {
	if c.cache.off || c.cache.opened != nil {
		return c.cache.opened, nil
	}
	dir, err := c.cacheDir()
	if err != nil {
		return nil, err
	}
	s, err := cache.Open(ctx, dir)
	if err != nil {
		return nil, err
	}
	c.ui.Debug("the cache is %q", dir)
	c.cache.opened = s
	c.closers = append(c.closers, s)
	return s, nil
}

// memo opens what was computed earlier, which stays open until the command ends; nil means that
// nothing is remembered. Without it a command takes longer and does the same.
func (c *command) memo(ctx context.Context) *memo.Memo {
	if c.cache.off || c.cache.remembers {
		return c.cache.memo
	}
	c.cache.remembers = true
	dir, err := c.cacheDir()
	if err != nil {
		return nil
	}
	tell := c.ui.Warn
	if _, err := os.Stat(filepath.Dir(dir)); err != nil && c.cache.dir == "" {
		tell = c.ui.Debug // there is no home, and nobody has asked for a cache
	}
	m := memo.Open(ctx, dir, func(err error) { tell("%v", err) })
	if m != nil {
		c.cache.memo = m
		c.closers = append(c.closers, m)
	}
	return m
}

// readPushed reads what the images of --cache-from tell, if there are any.
func (c *command) readPushed(ctx context.Context) (err error) {
	if len(c.cache.from) > 0 && c.cache.pushed == nil {
		c.cache.pushed, err = place.OpenPushed(ctx, c.cache.from, c.places())
	}
	return err
}

func newCache(e *environment) *cobra.Command {
	c := newCommand(e)
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "List, check and remove what was fetched from registries",
		Long: `Base images that a build fetches from a registry are kept as an OCI layout in
$XDG_CACHE_HOME/varve/blobs (~/.cache/varve/blobs), or below --cache DIR. A DIR that is
an OCI layout itself is used as it is. With a varve.lock, varve build --locked then needs
no network.`,
		Args: cobra.NoArgs,
	}
	var asJSON bool
	ls := &cobra.Command{
		Use:   "ls",
		Short: "List the images in the cache",
		Args:  cobra.NoArgs,
		RunE:  c.run(func(ctx context.Context, _ []string) error { return runCacheList(ctx, c, asJSON) }),
	}
	outputGroup.Add(ls, func(f *pflag.FlagSet) {
		f.BoolVar(&asJSON, "json", false, "print a JSON list with an object for each image")
	})
	verify := &cobra.Command{
		Use:   "verify",
		Short: "Check everything in the cache against its digest",
		Args:  cobra.NoArgs,
		RunE:  c.run(func(ctx context.Context, _ []string) error { return runCacheVerify(ctx, c) }),
	}
	var opts cache.PruneOptions
	age := cmdline.Age(30 * 24 * time.Hour)
	prune := &cobra.Command{
		Use:   "prune",
		Short: "Remove images that have not been used for long, and blobs that belong to no image",
		Args:  cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error {
			opts.Before = c.streams.Now().Add(-time.Duration(age))
			return runCachePrune(ctx, c, opts)
		}),
	}
	registryGroup.Add(prune, func(f *pflag.FlagSet) {
		f.Var(&age, "older-than", "remove images that have not been used for `TIME`, such as 30d or 12h")
		f.BoolVar(&opts.All, "all", false, "remove everything")
		f.BoolVar(&opts.DryRun, "dry-run", false, "only report what would be removed")
	})
	for _, sub := range []*cobra.Command{ls, prune, verify} {
		c.cache.registerDir(sub)
		cmd.AddCommand(sub)
	}
	return cmd
}

// existingCache opens the cache if there is one; otherwise it reports that there is
// none and returns nil.
func (c *command) existingCache(ctx context.Context, open func(context.Context, string) (*cache.Store, error)) (*cache.Store, error) {
	dir, err := c.cacheDir()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		c.ui.Info("there is no cache at %q", dir)
		return nil, nil
	}
	return open(ctx, dir)
}

func runCacheList(ctx context.Context, c *command, asJSON bool) error {
	s, err := c.existingCache(ctx, cache.Open)
	if err != nil {
		return err
	}
	var images []cache.Image
	var blobs []cache.Blob
	if s != nil {
		defer s.Close()
		if images, blobs, err = s.List(ctx); err != nil {
			return err
		}
	}
	if asJSON {
		return c.streams.PrintJSON(cache.JSON(images))
	}
	if s != nil {
		var total int64
		for _, b := range blobs {
			total += b.Size
		}
		c.ui.Info("%s, %s of %s in %q", human.Count(len(images), "image"), human.Count(len(blobs), "blob"), human.Size(total), s.Dir())
	}
	return c.streams.Print(cache.Text(images))
}

func runCacheVerify(ctx context.Context, c *command) error {
	s, err := c.existingCache(ctx, cache.Open)
	if err != nil || s == nil {
		return err
	}
	defer s.Close()
	var found []error
	if err := s.Verify(ctx, func(err error) { found = append(found, err) }); err != nil {
		return err
	}
	images, blobs, err := s.List(ctx)
	if err != nil {
		return err
	}
	for _, img := range images {
		if n := len(img.Missing); n > 0 {
			found = append(found, fmt.Errorf("image %q: %s missing, the first is %s", img.Title(), human.Count(n, "blob"), img.Missing[0]))
		}
	}
	if len(found) > 0 {
		return cmdline.Hint(errors.Join(found...), "a build that may use the network fetches them again; varve cache prune --all removes everything")
	}
	c.ui.Info("%s of %s are what their digests say", human.Count(len(blobs), "blob"), human.Count(len(images), "image"))
	return nil
}

func runCachePrune(ctx context.Context, c *command, opts cache.PruneOptions) error {
	s, err := c.existingCache(ctx, cache.OpenExclusive)
	if err != nil || s == nil {
		return err
	}
	defer s.Close()
	p, err := s.Prune(ctx, opts)
	if err != nil {
		return err
	}
	done := "removed"
	if opts.DryRun {
		done = "would remove"
	}
	for _, img := range p.Images {
		c.ui.Info("%s %s", done, human.Plain(img.Title()))
	}
	c.ui.Info("%s %s, %s of %s", done, human.Count(len(p.Images), "image"), human.Count(p.Blobs, "blob"), human.Size(p.Bytes))
	return nil
}
