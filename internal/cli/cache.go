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
}

func (c *cacheFlags) register(cmd *cobra.Command) {
	c.registerDir(cmd)
	c.registerMax(cmd)
	registryGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.BoolVar(&c.off, "no-cache", false, "neither use nor fill the cache")
	})
}

func (c *cacheFlags) registerMax(cmd *cobra.Command) {
	registryGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.Var(&c.max, "cache-max", "`SIZE`: most that the cache may take, such as 20GiB, or none; what was not used for longest is removed")
		cmdline.ShowDefault(f, "cache-max", "10GiB")
	})
}

// limit returns the limit of the cache in bytes, 0 for none.
func (c *cacheFlags) limit() int64 {
	switch c.max {
	case 0:
		return cachedir.DefaultMax
	case cmdline.NoMax:
		return 0
	}
	return int64(c.max)
}

func (c *cacheFlags) registerDir(cmd *cobra.Command) {
	registryGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVar(&c.dir, "cache", "", "keep what is fetched and computed for the next time in `DIR`")
		cmdline.ShowDefault(f, "cache", "$XDG_CACHE_HOME/varve")
	})
}

// cacheDir returns the cache's directory by the flags and the environment.
func (g *global) cacheDir() (string, error) {
	if g.cache.dir != "" {
		return filepath.Abs(g.cache.dir)
	}
	// The XDG base directory specification says to ignore relative paths.
	if dir, ok := g.streams.LookupEnv("XDG_CACHE_HOME"); ok && filepath.IsAbs(dir) {
		return filepath.Join(dir, "varve"), nil
	}
	if home, ok := g.streams.LookupEnv("HOME"); ok && filepath.IsAbs(home) {
		return filepath.Join(home, ".cache", "varve"), nil
	}
	return "", cmdline.Usage(cmdline.Hint(errors.New("there is no place for the cache: neither XDG_CACHE_HOME nor HOME is set"),
		"name one with --cache DIR, or let a build do without: --no-cache"))
}

// store opens the cache, which stays open until the command ends; nil means no cache.
func (g *global) store(ctx context.Context) (*cache.Store, error) {
	if g.cache.off || g.cache.opened != nil {
		return g.cache.opened, nil
	}
	dir, err := g.cacheDir()
	if err != nil {
		return nil, err
	}
	s, err := cache.Open(ctx, dir)
	if err != nil {
		return nil, err
	}
	g.ui.Debug("the cache is %q", dir)
	g.cache.opened = s
	g.closers = append(g.closers, s)
	return s, nil
}

// memo opens what was computed earlier, which stays open until the command ends; nil means that
// nothing is remembered. Without it a command takes longer and does the same.
func (g *global) memo(ctx context.Context) *memo.Memo {
	if g.cache.off || g.cache.remembers {
		return g.cache.memo
	}
	g.cache.remembers = true
	dir, err := g.cacheDir()
	if err != nil {
		return nil
	}
	tell := g.ui.Warn
	if _, err := os.Stat(filepath.Dir(dir)); err != nil && g.cache.dir == "" {
		tell = g.ui.Debug // there is no home, and nobody has asked for a cache
	}
	m := memo.Open(ctx, dir, func(err error) { tell("%v", err) })
	if m != nil {
		g.cache.memo = m
		g.closers = append(g.closers, m)
	}
	return m
}

// limitCache keeps the cache below its limit, once the command has closed it.
func (g *global) limitCache(ctx context.Context) {
	if ctx.Err() != nil || g.cache.limit() == 0 {
		return
	}
	dir := ""
	switch {
	case g.cache.memo.Kept():
		dir = g.cache.memo.Dir()
	case g.cache.opened != nil && g.cache.opened.Added():
		dir = g.cache.opened.Dir()
	default:
		return
	}
	if err := cachedir.Limit(ctx, dir, g.cache.limit()); err != nil && ctx.Err() == nil {
		g.ui.Warn("the cache stays larger than --cache-max: %v", err)
	}
}

func newCache(g *global) *cobra.Command {
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
		RunE:  func(cmd *cobra.Command, _ []string) error { return runCacheList(cmd.Context(), g, asJSON) },
	}
	outputGroup.Add(ls, func(f *pflag.FlagSet) {
		f.BoolVar(&asJSON, "json", false, "print a JSON list with an object for each image, and for each kind of what was computed")
	})
	verify := &cobra.Command{
		Use:   "verify",
		Short: "Check everything in the cache against its digest",
		Long: `Everything in the cache is read and compared with its digest. What is damaged of a base
image stays until a build fetches it again; what is damaged of what was computed is removed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runCacheVerify(cmd.Context(), g) },
	}
	for _, c := range []*cobra.Command{ls, newCachePrune(g), verify} {
		g.cache.registerDir(c)
		cmd.AddCommand(c)
	}
	return cmd
}

func newCachePrune(g *global) *cobra.Command {
	var opts cachedir.PruneOptions
	age := cmdline.Age(30 * 24 * time.Hour)
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove what has not been used for long, and what belongs to nothing",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.Before = g.streams.Now().Add(-time.Duration(age))
			opts.Max = g.cache.limit()
			return runCachePrune(cmd.Context(), g, opts)
		},
	}
	g.cache.registerMax(cmd)
	registryGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.Var(&age, "older-than", "remove what has not been used for `TIME`, such as 30d or 12h")
		f.BoolVar(&opts.All, "all", false, "remove everything")
		f.BoolVar(&opts.DryRun, "dry-run", false, "only report what would be removed")
	})
	return cmd
}

// existingCache returns the cache's directory if there is one; otherwise it reports that there is
// none, and returns "".
func (g *global) existingCache() (string, error) {
	dir, err := g.cacheDir()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		g.ui.Info("there is no cache at %q", dir)
		return "", nil
	}
	return dir, nil
}

// warn tells the user of an error that changes nothing.
func (g *global) warn(err error) { g.ui.Warn("%v", err) }

func runCacheList(ctx context.Context, g *global, asJSON bool) error {
	dir, err := g.existingCache()
	if err != nil {
		return err
	}
	l := &cachedir.Listing{}
	if dir != "" {
		if l, err = cachedir.List(ctx, dir, g.warn); err != nil {
			return err
		}
	}
	if asJSON {
		data, err := l.JSON()
		if err != nil {
			return err
		}
		return g.print(string(data) + "\n")
	}
	if dir != "" {
		g.ui.Info("%s, %s, %s of what was computed: %s in %q", human.Count(len(l.Images), "image"), human.Count(l.Blobs, "blob"),
			human.Count(l.Computed(), "file"), human.Size(l.Size), dir)
	}
	return g.print(l.Text())
}

func runCacheVerify(ctx context.Context, g *global) error {
	dir, err := g.existingCache()
	if err != nil || dir == "" {
		return err
	}
	var found []error
	v, err := cachedir.Verify(ctx, dir, func(err error) { found = append(found, err) }, g.warn)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return cmdline.Hint(errors.Join(found...), "a build that may use the network fetches and computes again what is missing; varve cache prune --all removes everything")
	}
	g.ui.Info("%s of %s, and %s of what was computed, are what their digests say",
		human.Count(v.Blobs, "blob"), human.Count(v.Images, "image"), human.Count(v.Items, "file"))
	return nil
}

func runCachePrune(ctx context.Context, g *global, opts cachedir.PruneOptions) error {
	dir, err := g.existingCache()
	if err != nil || dir == "" {
		return err
	}
	p, err := cachedir.Prune(ctx, dir, opts, g.warn)
	if err != nil {
		return err
	}
	done := "removed"
	if opts.DryRun {
		done = "would remove"
	}
	for _, img := range p.Images {
		g.ui.Info("%s %s", done, human.Plain(img.Title()))
	}
	g.ui.Info("%s %s, %s, %s of what was computed: %s", done, human.Count(len(p.Images), "image"), human.Count(p.Blobs, "blob"),
		human.Count(len(p.Items), "file"), human.Size(p.Bytes))
	return nil
}
