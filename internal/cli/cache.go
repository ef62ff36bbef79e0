package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/base/cache"
	"github.com/varve-image/varve/internal/cachedir"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/internal/memo"
	"github.com/varve-image/varve/internal/place"
)

// cacheFlags say where what was fetched and computed is kept.
type cacheFlags struct {
	dir string
	off bool
	max cmdline.MaxSize
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
	f.registerMax(cmd)
	registryGroup.Add(cmd, func(flags *pflag.FlagSet) {
		flags.BoolVar(&f.off, "no-cache", false, "neither use nor fill the cache")
	})
}

func (f *cacheFlags) registerMax(cmd *cobra.Command) {
	registryGroup.Add(cmd, func(flags *pflag.FlagSet) {
		flags.Var(&f.max, "cache-max", "`SIZE`: most that the cache may take, such as 20GiB, or none; what was not used for longest is removed")
		cmdline.ShowDefault(flags, "cache-max", "10GiB")
	})
}

// limit returns the limit of the cache in bytes, 0 for none.
func (f *cacheFlags) limit() int64 {
	switch f.max {
	case 0:
		return cachedir.DefaultMax
	case cmdline.NoMax:
		return 0
	}
	return int64(f.max)
}

func (f *cacheFlags) registerDir(cmd *cobra.Command) {
	registryGroup.Add(cmd, func(flags *pflag.FlagSet) {
		flags.StringVar(&f.dir, "cache", "", "keep what is fetched and computed for the next time in `DIR`")
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
		if _, err := os.Stat(filepath.Dir(filepath.Dir(dir))); err != nil {
			c.ui.Debug("nothing is remembered: %v", err) // there is no home, and none is made
			return nil
		}
		tell = c.ui.Debug // nobody has asked for a cache
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

// limitCache keeps the cache below its limit, once the command has closed it.
func (c *command) limitCache(ctx context.Context) {
	if ctx.Err() != nil || c.cache.limit() == 0 {
		return
	}
	dir := ""
	switch {
	case c.cache.memo.Kept():
		dir = c.cache.memo.Dir()
	case c.cache.opened != nil && c.cache.opened.Added():
		dir = c.cache.opened.Dir()
	default:
		return
	}
	if err := cachedir.Limit(ctx, dir, c.cache.limit()); err != nil && ctx.Err() == nil {
		c.ui.Warn("the cache stays larger than --cache-max: %v", err)
	}
}

func newCache(e *environment) *cobra.Command {
	c := newCommand(e)
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "List, check and remove what was fetched and what was computed",
		Long: `Base images that a build fetches from a registry are kept as an OCI layout in
$XDG_CACHE_HOME/varve/blobs (~/.cache/varve/blobs), or below --cache DIR. A DIR that is
an OCI layout itself is used as it is. With a varve.lock, varve build --locked then needs
no network. What was computed, such as digests of layers and what they are compressed to,
is in memo beside it. No image depends on that: without it a build only takes longer.`,
		Args: cobra.NoArgs,
	}
	var asJSON bool
	ls := &cobra.Command{
		Use:   "ls",
		Short: "List the images in the cache, and how much was computed",
		Args:  cobra.NoArgs,
		RunE:  c.run(func(ctx context.Context, _ []string) error { return runCacheList(ctx, c, asJSON) }),
	}
	registerJSON(ls, &asJSON, "print a JSON list with an object for each image, and for each kind of what was computed")
	var verifyJSON bool
	verify := &cobra.Command{
		Use:   "verify",
		Short: "Check everything in the cache against its digest",
		Long: `Everything in the cache is read and compared with its digest. What is damaged of a base
image stays until a build fetches it again; what is damaged of what was computed is removed.`,
		Args: cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error { return runCacheVerify(ctx, c, verifyJSON) }),
	}
	registerJSON(verify, &verifyJSON, "print a JSON object with what was checked, and with what is wrong")
	for _, sub := range []*cobra.Command{ls, newCachePrune(c), verify} {
		c.cache.registerDir(sub)
		cmd.AddCommand(sub)
	}
	return cmd
}

func newCachePrune(c *command) *cobra.Command {
	var opts cachedir.PruneOptions
	var asJSON bool
	age := cmdline.Age(30 * 24 * time.Hour)
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove what has not been used for long, and what belongs to nothing",
		Args:  cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error {
			opts.Before = c.streams.Now().Add(-time.Duration(age))
			opts.Max = c.cache.limit()
			return runCachePrune(ctx, c, opts, asJSON)
		}),
	}
	registerJSON(cmd, &asJSON, "print a JSON object with what was removed")
	c.cache.registerMax(cmd)
	registryGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.Var(&age, "older-than", "remove what has not been used for `TIME`, such as 30d or 12h")
		f.BoolVar(&opts.All, "all", false, "remove everything")
		f.BoolVar(&opts.DryRun, "dry-run", false, "only report what would be removed")
	})
	return cmd
}

// existingCache returns the cache's directory if there is one; otherwise it reports that there is
// none, and returns "".
func (c *command) existingCache() (string, error) {
	dir, err := c.cacheDir()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		c.ui.Info("there is no cache at %q", dir)
		return "", nil
	}
	return dir, nil
}

// warn tells the user of an error that changes nothing.
func (c *command) warn(err error) { c.ui.Warn("%v", err) }

func runCacheList(ctx context.Context, c *command, asJSON bool) error {
	dir, err := c.existingCache()
	if err != nil {
		return err
	}
	l := &cachedir.Listing{}
	if dir != "" {
		if l, err = cachedir.List(ctx, dir, c.warn); err != nil {
			return err
		}
	}
	if asJSON {
		return c.streams.PrintJSON(l.JSON())
	}
	if dir != "" {
		c.ui.Info("%s, %s, %s of what was computed: %s in %q", human.Count(len(l.Images), "image"), human.Count(l.Blobs, "blob"),
			human.Count(l.Computed(), "file"), human.Size(l.Size), dir)
	}
	return c.streams.Print(l.Text())
}
