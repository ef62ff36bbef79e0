package varve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/image/inspect"
	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/base"
	"github.com/varve-image/varve/internal/base/cache"
	"github.com/varve-image/varve/internal/memo"
	"github.com/varve-image/varve/internal/nixstore/nixstate"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/userns"
	"github.com/varve-image/varve/internal/sandbox/vm"
	"github.com/varve-image/varve/internal/transfer"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

var initialized atomic.Bool // Init was called

// Init has to be the first call of a program's main function, and of TestMain, if specs may have
// scripts: these start the program again, as the first process of their sandbox. In such a
// process Init does not return.
func Init() {
	for _, isStep := range []func() (int, bool){userns.Main, vm.Main} {
		if code, ok := isStep(); ok {
			os.Exit(code)
		}
	}
	initialized.Store(true)
}

// Image is an image that was built or opened. It is read when it is written, and has to be
// closed.
type Image struct {
	image.Named
	// Warnings list what a spec says that is allowed but most likely a mistake.
	Warnings []error

	closers
}

// closers close what an image is read from.
type closers []func() error

// Close closes what the image is read from.
func (c *closers) Close() (err error) {
	for _, closer := range *c {
		err = errors.Join(err, closer())
	}
	*c = nil
	return err
}

// NewImage returns an image that the program made itself, such as with image.New. Each of its
// names is NAME:TAG; a name without a tag gets one made of the image id.
func NewImage(img image.Image, repoTags ...string) *Image {
	return &Image{Named: image.Named{Image: img, Names: image.Names{RepoTags: repoTags}}}
}

// Files reads the headers of all layers and returns the file system that they show. It has to
// be closed, before the image.
func (img *Image) Files(ctx context.Context, opts *Options) (*tree.Overlay, error) {
	stored, err := image.AsStored(ctx, img.Named)
	if err != nil {
		return nil, err
	}
	o := opts.orDefault()
	return stored.Files(ctx, tree.OverlayOptions{TempDir: o.TempDir, MaxBytes: o.MaxUnpacked, MaxEntries: o.MaxEntries})
}

// BuildFile builds the image of the spec in a file. The varve.lock beside it pins the image that
// it builds on, unless Options.Lock names another.
func BuildFile(ctx context.Context, name string, opts *Options) (*Image, error) {
	s, err := ParseFile(name, opts)
	if err != nil {
		return nil, err
	}
	o := opts.orDefault()
	o.Lock = cmp.Or(o.Lock, lockBeside(name))
	return Build(ctx, s, &o)
}

// Build builds the image of a spec. It checks the spec first and returns what is wrong with it
// as spec.Errors. Files are looked at now, and read when the image is written.
func Build(ctx context.Context, s *spec.Spec, opts *Options) (*Image, error) {
	o := opts.orDefault()
	specOpts, err := o.spec("")
	if err != nil {
		return nil, err
	}
	checked, err := s.Check(specOpts)
	switch {
	case err != nil:
		return nil, err
	case o.Locked && o.Unlocked:
		return nil, errors.New("Options.Locked and Options.Unlocked contradict each other")
	case checked.Created != nil && checked.Created.Now && o.Now.IsZero():
		return nil, errors.New("the spec's created is now, and Options.Now says no time")
	case o.SourceDateEpoch != nil && *o.SourceDateEpoch < 0:
		return nil, fmt.Errorf("Options.SourceDateEpoch is %d, before 1970", *o.SourceDateEpoch)
	case checked.HasSteps() && !initialized.Load():
		return nil, fmt.Errorf("build image %s: %w", s.Name, ErrNotInitialized)
	}
	store := &cache.Lazy{Dir: o.Cache}
	bases := base.New(o.bases(store))
	known, err := o.known(ctx)
	if err != nil {
		return nil, err
	}
	img := &Image{closers: closers{bases.Close, store.Close, known.memo.Close}}
	result, err := assemble.Build(ctx, checked, o.assemble(bases, known))
	if err != nil {
		img.Close()
		return nil, fmt.Errorf("build image %s: %w", s.Name, err)
	}
	img.Named, img.Warnings = result.Image, result.Warnings
	img.closers = append(closers{result.Close}, img.closers...)
	return img, nil
}

// Index is an image for several platforms. It has to be closed.
type Index struct {
	image.Index
	closers
}

// BuildIndex builds the images of several specs, each for another platform, and an index of
// them, which has the names of the first. ParseFile makes such specs from one file, for one
// platform after the other.
func BuildIndex(ctx context.Context, specs []*spec.Spec, opts *Options) (*Index, error) {
	x := &Index{}
	for _, s := range specs {
		img, err := Build(ctx, s, opts)
		if err != nil {
			x.Close()
			return nil, err
		}
		x.closers = append(x.closers, img.Close)
		x.Images = append(x.Images, img.Image)
		if len(x.Images) == 1 {
			x.Names = img.Names
		}
	}
	if len(specs) == 0 {
		return nil, errors.New("an index needs an image")
	}
	x.Annotations = assemble.Annotations(specs[0])
	return x, nil
}

// Open opens the image that a reference names. Of an image for several platforms it opens the
// one for Options.Platform or, if that is empty, for Linux on this machine's architecture.
func Open(ctx context.Context, ref string, opts *Options) (*Image, error) {
	o := opts.orDefault()
	wanted, err := o.wanted()
	if err != nil {
		return nil, err
	}
	found, err := place.OpenImage(ctx, ref, wanted, o.places())
	if err != nil {
		return nil, err
	}
	return &Image{Named: found.Named()[0], closers: closers{found.Close}}, nil
}

// Write writes an image to the place that a reference names, under the reference's name or its
// own. An archive or a layout appears whole or not at all; a registry or an engine is sent what
// it lacks.
func Write(ctx context.Context, img *Image, ref string, opts *Options) (image.Written, error) {
	o := opts.orDefault()
	dest, err := o.destination(ref)
	if err != nil {
		return image.Written{}, err
	}
	var sent []transfer.Sent
	err = o.transfer(ctx, place.Wanted{}, func(opts transfer.Options) (err error) {
		sent, err = transfer.Write(ctx, dest, []image.Named{img.Named}, opts)
		return err
	})
	if err != nil {
		return image.Written{}, fmt.Errorf("write image to %q: %w", ref, err)
	}
	return sent[0].Written, nil
}

// WriteIndex writes an index with its images to a place that can hold one: an OCI layout, its
// archive, or a registry.
func WriteIndex(ctx context.Context, x *Index, ref string, opts *Options) (image.Written, error) {
	o := opts.orDefault()
	dest, err := o.destination(ref)
	if err != nil {
		return image.Written{}, err
	}
	var sent transfer.Sent
	err = o.transfer(ctx, place.Wanted{}, func(opts transfer.Options) (err error) {
		sent, err = transfer.WriteIndex(ctx, dest, &x.Index, opts)
		return err
	})
	return sent.Written, err
}

// Copy writes the images that a reference names to another place: the one with a name, or all of
// an archive or layout, each under its names. Of an image for several platforms it copies the
// one for Options.Platform. Layers are passed on as they are stored. It returns what was
// written, in the order of the source.
func Copy(ctx context.Context, from, to string, opts *Options) ([]image.Written, error) {
	o := opts.orDefault()
	wanted, err := o.wanted()
	if err != nil {
		return nil, err
	}
	return o.copy(ctx, from, to, wanted, transfer.Copy)
}

// CopyAll is like Copy, but copies the images for all platforms: between registries byte for
// byte, with what else an index lists.
func CopyAll(ctx context.Context, from, to string, opts *Options) ([]image.Written, error) {
	o := opts.orDefault()
	return o.copy(ctx, from, to, place.Wanted{}, transfer.CopyAll)
}

func (o *Options) copy(ctx context.Context, from, to string, wanted place.Wanted,
	do func(context.Context, string, transfer.Destination, transfer.Options) ([]transfer.Sent, error)) ([]image.Written, error) {
	dest, err := o.destination(to)
	if err != nil {
		return nil, err
	}
	var sent []transfer.Sent
	err = o.transfer(ctx, wanted, func(opts transfer.Options) (err error) {
		sent, err = do(ctx, from, dest, opts)
		return err
	})
	var written []image.Written
	for _, s := range sent {
		written = append(written, s.Written)
	}
	return written, err
}

// Inspect reads an image to its end and describes what is in it.
func Inspect(ctx context.Context, img *Image) (*inspect.Image, error) {
	stored, err := image.AsStored(ctx, img.Named)
	if err != nil {
		return nil, err
	}
	names, err := img.Tagged(ctx)
	if err != nil {
		return nil, err
	}
	return inspect.Read(ctx, stored, append(names.RepoTags, names.RefNames...))
}

// wanted returns which of several images to choose.
func (o *Options) wanted() (place.Wanted, error) {
	p, err := o.platform()
	if o.Platform == "" {
		p = v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	}
	return place.Wanted{Platform: p, Only: o.Platform != ""}, err
}

func (o *Options) platform() (v1.Platform, error) {
	if o.Platform == "" {
		return v1.Platform{}, nil
	}
	p, err := ocijson.ParsePlatform(o.Platform)
	return ocijson.Normal(p), err
}

func (o *Options) orDefault() Options {
	if o == nil {
		return Options{}
	}
	return *o
}

func (o *Options) places() place.Options {
	opts := place.Options{
		Stdout: o.Stdout, TempDir: o.TempDir, MaxUnpacked: o.MaxUnpacked, MaxEntries: o.MaxEntries, Env: o.Env, Warn: o.Warn,
		Registry: o.Registry.options,
	}
	if o.Stdin != nil {
		opts.Stdin = func() (io.Reader, error) { return o.Stdin, nil }
	}
	return opts
}

// destination returns where a reference says that images go, and how they are compressed there.
func (o *Options) destination(ref string) (transfer.Destination, error) {
	dest, err := transfer.To(ref)
	if err != nil || o.Compressor == "" {
		return dest, err
	}
	return dest, dest.Compress(o.Compressor, "Options.Compressor")
}

// transfer calls do with options to write images.
func (o *Options) transfer(ctx context.Context, wanted place.Wanted, do func(transfer.Options) error) error {
	known, err := o.known(ctx)
	if err != nil {
		return err
	}
	defer known.memo.Close()
	opts := transfer.Options{Places: o.places(), Wanted: wanted}
	opts.Places.Pushed = known.pushed
	opts.Places.Memo = func(context.Context) *memo.Memo { return known.memo }
	opts.Progress = func(context.Context, int, string) (func(image.Event), func()) { return o.Observe, func() {} }
	if o.Warn != nil {
		opts.Advise = func(err error) { o.Warn(err.Error()) }
	}
	return do(opts)
}

func (o *Options) bases(c *cache.Lazy) base.Options {
	return base.Options{
		Places: o.places(), Root: o.Root, Architecture: runtime.GOARCH,
		Unlocked: o.Unlocked, Locked: o.Locked, Cache: c.Open,
		Now: func() time.Time { return o.Now },
	}
}

func (o *Options) assemble(bases *base.Resolver, known known) assemble.Options {
	opts := assemble.Options{
		Root: o.Root, StoreRoot: o.StoreRoot, Architecture: runtime.GOARCH,
		SourceDateEpoch: o.SourceDateEpoch, Now: o.Now, TempDir: o.TempDir,
		MaxUnpacked: o.MaxUnpacked, MaxEntries: o.MaxEntries, Databases: nixstate.Registered(), Memo: known.memo,
		OpenBase: func(ctx context.Context, ref spec.Base) (*image.Stored, error) { return bases.Open(ctx, ref, o.Lock) },
		OpenPlan: o.openPlan(bases),
		Steps: assemble.Steps{
			Runner: func(i spec.Isolation) (sandbox.Runner, error) {
				opts := sandbox.Options{TempDir: o.TempDir}
				if i == spec.VM {
					return vm.New(vm.Options{Options: opts, Kernel: o.Steps.Kernel}), nil
				}
				return userns.New(opts), nil
			},
			AllowNetwork: o.Steps.AllowNetwork, Limits: o.Steps.limits(), Output: o.Steps.output(),
			Reused: o.Steps.reused(),
		},
	}
	if known.pushed != nil {
		opts.Pushed = known.pushed.Layer
	}
	return opts
}
