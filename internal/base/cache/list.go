package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/owner"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/internal/regfile"
)

// Image describes what a cache has of an image.
type Image struct {
	// Name is the name that it is listed under, and FullName the one with a tag, or empty.
	Name, FullName string
	Descriptor     v1.Descriptor
	// Used is when it was used last.
	Used time.Time
	// Size is the size of its blobs in bytes, including those shared with other images.
	Size int64
	// Missing lists blobs that belong to it and are not there. An index may lack images for
	// other platforms.
	Missing []digest.Digest

	// blobs are the blobs that are there, with the sizes in their descriptors.
	blobs map[digest.Digest]int64
}

// Blob is a file of a cache.
type Blob struct {
	Digest digest.Digest
	// Size is its size in bytes.
	Size int64
}

// List lists the images of a cache, and all its blobs, in the order of their
// names and digests.
func (s *Store) List(ctx context.Context) ([]Image, []Blob, error) {
	blobs, err := s.blobs()
	if err != nil {
		return nil, nil, &DirError{s.dir, err}
	}
	sizes := make(map[digest.Digest]int64, len(blobs))
	for _, b := range blobs {
		sizes[b.Digest] = b.Size
	}
	listed, err := s.index()
	if err != nil {
		return nil, nil, &DirError{s.dir, err}
	}
	var images []Image
	for _, d := range listed {
		img := Image{
			Name: d.Annotations[v1.AnnotationRefName], FullName: d.Annotations[ocilayout.AnnotationName],
			Descriptor: d, blobs: map[digest.Digest]int64{},
		}
		if st, err := s.root.Lstat(ocilayout.BlobPath(d.Digest)); err == nil {
			img.Used = st.ModTime()
		}
		if err := s.gather(ctx, &img, d, sizes, 0); err != nil {
			return nil, nil, err
		}
		images = append(images, img)
	}
	slices.SortFunc(images, func(a, b Image) int {
		return strings.Compare(a.Name+" "+a.Descriptor.Digest.String(), b.Name+" "+b.Descriptor.Digest.String())
	})
	return images, blobs, nil
}

// gather adds a blob and what it refers to to an image. Documents that cannot be read count as
// blobs like others: Verify reports them.
func (s *Store) gather(ctx context.Context, img *Image, d v1.Descriptor, sizes map[digest.Digest]int64, depth int) error {
	if _, seen := img.blobs[d.Digest]; seen || depth > ocijson.MaxNesting+1 {
		return nil
	}
	size, ok := sizes[d.Digest]
	if !ok {
		if depth == 0 || !ocijson.IsManifest(d.MediaType) && !ocijson.IsIndex(d.MediaType) {
			img.Missing = append(img.Missing, d.Digest)
		}
		return nil
	}
	img.blobs[d.Digest] = d.Size
	img.Size += size
	var children []v1.Descriptor
	switch {
	case ocijson.IsIndex(d.MediaType):
		if data, err := s.Document(ctx, d, nil); err == nil {
			_, children, _ = ocijson.ParseIndex(data)
		}
	case ocijson.IsManifest(d.MediaType):
		if data, err := s.Document(ctx, d, nil); err == nil {
			config, layers, err := ocijson.ParseManifest(data)
			if err == nil {
				children = append(layers, config)
			}
		}
	}
	for _, child := range children {
		if len(child.URLs) > 0 { // it is kept elsewhere
			continue
		}
		if err := s.gather(ctx, img, child, sizes, depth+1); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// blobs lists the files that are named after digests.
func (s *Store) blobs() ([]Blob, error) {
	var list []Blob
	for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		names, err := s.names(path.Join("blobs", algorithm.String()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, name := range names {
			d, err := ocijson.ParseDigest(algorithm.String() + ":" + name)
			if err != nil {
				continue
			}
			st, err := s.root.Lstat(ocilayout.BlobPath(d))
			if err == nil {
				list = append(list, Blob{d, st.Size()})
			}
		}
	}
	return list, nil
}

// names lists a directory of the layout, sorted.
func (s *Store) names(dir string) ([]string, error) {
	f, err := s.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// Verify compares every blob with its size and digest and calls report, from one
// goroutine at a time, for each that is damaged.
func (s *Store) Verify(ctx context.Context, report func(error)) error {
	images, blobs, err := s.List(ctx)
	if err != nil {
		return err
	}
	sizes := stated(images)
	var mu sync.Mutex
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.SetLimit(runtime.GOMAXPROCS(0))
	for _, b := range blobs {
		tasks.Go(func() error {
			size, known := sizes[b.Digest]
			if err := s.check(ctx, b.Digest, size, known); ctx.Err() == nil && err != nil {
				mu.Lock()
				defer mu.Unlock()
				report(err)
			}
			return ctx.Err()
		})
	}
	return tasks.Wait()
}

// check compares a blob with its digest, and with its size where an image states one. For
// another user's blob without an image it is not known how much work that would be.
func (s *Store) check(ctx context.Context, d digest.Digest, size int64, known bool) error {
	if !known {
		size = -1
		info, err := s.root.Lstat(ocilayout.BlobPath(d))
		if err == nil && !s.belongs(info) {
			return fmt.Errorf("cache %q: blob %s belongs to another user, %d, and to no image: remove it", s.dir, d, owner.Of(info))
		}
	}
	f, err := s.find(ctx, v1.Descriptor{Digest: d, Size: size}, math.MaxInt64)
	if f != nil {
		f.Close()
	}
	return err
}

// stated returns the sizes that images state for their blobs. Where they contradict each other,
// the size is unknown.
func stated(images []Image) map[digest.Digest]int64 {
	sizes := map[digest.Digest]int64{}
	for _, img := range images {
		for d, size := range img.blobs {
			if other, ok := sizes[d]; ok && other != size {
				size = -1
			}
			sizes[d] = size
		}
	}
	return sizes
}

// PruneOptions says what Prune removes besides blobs that belong to no image. The zero value
// removes nothing else.
type PruneOptions struct {
	// Before removes images that were not used since then.
	Before time.Time
	// All removes all images.
	All bool
	// DryRun removes nothing.
	DryRun bool
}

// Pruned says what Prune removed.
type Pruned struct {
	Images []Image
	Blobs  int
	// Bytes is the size of the removed blobs.
	Bytes int64
}

// Prune removes images that have not been used for long, blobs that belong to no image, and what
// interrupted downloads have left. The cache has to be open exclusively.
func (s *Store) Prune(ctx context.Context, opts PruneOptions) (*Pruned, error) {
	if err := s.writable(); err != nil && !opts.DryRun {
		return nil, err
	}
	images, blobs, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	p := &Pruned{}
	kept := map[digest.Digest]bool{}
	for _, img := range images {
		if opts.All || img.Used.Before(opts.Before) {
			p.Images = append(p.Images, img)
			continue
		}
		for d := range img.blobs {
			kept[d] = true
		}
	}
	if !opts.DryRun {
		gone := func(d v1.Descriptor) bool {
			return slices.ContainsFunc(p.Images, func(img Image) bool {
				return img.Descriptor.Digest == d.Digest && img.Name == d.Annotations[v1.AnnotationRefName]
			})
		}
		if err := ocilayout.RemoveManifests(ctx, s.root, gone); err != nil {
			return nil, &DirError{s.dir, err}
		}
		s.removeLeftovers()
	}
	blobs = slices.DeleteFunc(blobs, func(b Blob) bool { return kept[b.Digest] })
	return p, s.removeBlobs(p, blobs, opts.DryRun)
}

// removeBlobs removes blobs and counts them. One that cannot be removed does not keep the
// others.
func (s *Store) removeBlobs(p *Pruned, blobs []Blob, dryRun bool) error {
	var errs []error
	for _, b := range blobs {
		if !dryRun {
			if err := s.root.Remove(ocilayout.BlobPath(b.Digest)); err != nil {
				errs = append(errs, &DirError{s.dir, fmt.Errorf("remove blob %s: %w", b.Digest, regfile.Cause(err))})
				continue
			}
		}
		p.Blobs++
		p.Bytes += b.Size
	}
	return errors.Join(errs...)
}

// removeLeftovers removes what interrupted downloads have left. Nobody downloads while the cache
// is open exclusively. What cannot be removed does no harm.
func (s *Store) removeLeftovers() {
	for _, dir := range []string{".", "blobs/sha256", "blobs/sha512"} {
		names, _ := s.names(dir) // it may not be there
		for _, name := range names {
			if strings.HasPrefix(name, lockPrefix) || dir != "." && strings.HasPrefix(name, ".") {
				_ = s.root.Remove(path.Join(dir, name))
			}
		}
	}
}
