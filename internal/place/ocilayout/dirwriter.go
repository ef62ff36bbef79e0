package ocilayout

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/owner"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/layer"
)

// tempName begins the names of unfinished files in a layout.
const tempName = ".varve-"

// dirWriter writes into a directory that nobody else writes to, because it is locked or new. The
// directory is empty or a layout. All paths are resolved inside it.
type dirWriter struct {
	root *os.Root
	made []string // what undo removes
	// path returns where a blob goes; nil means BlobPath. docker keeps Docker manifests.
	path   func(v1.Descriptor) string
	docker bool
}

// write adds the content and returns the digest of its manifest or index. After an error the
// directory is as it was.
func (w *dirWriter) write(ctx context.Context, c content, opts Options) (d digest.Digest, err error) {
	index, err := w.readIndex()
	if err != nil {
		return "", err
	}
	w.removeTemps()
	defer func() {
		if err != nil {
			w.undo()
		}
	}()
	if err := w.makeDirs(index == nil); err != nil {
		return "", err
	}
	tops, err := w.content(ctx, c, opts)
	if err != nil {
		return "", err
	}
	indexData, err := addToIndex(index, tops)
	if err != nil {
		return "", err
	}
	return tops[0].Digest, w.commit(ctx, indexData)
}

// content writes the blobs and returns the descriptors for index.json.
func (w *dirWriter) content(ctx context.Context, c content, opts Options) ([]v1.Descriptor, error) {
	images, err := w.images(ctx, c, opts)
	if err != nil {
		return nil, err
	}
	manifests := make([]v1.Descriptor, len(images))
	for i, m := range images {
		manifests[i] = m.Descriptor
		if err := w.put(ctx, BlobPath(m.Descriptor.Digest), m.Data); err != nil {
			return nil, err
		}
	}
	tops, index, err := c.tops(ctx, manifests, opts)
	if err == nil && index != nil {
		err = w.put(ctx, BlobPath(index.Descriptor.Digest), index.Data)
	}
	return tops, err
}

// images writes the layers and configs and returns the manifests.
func (w *dirWriter) images(ctx context.Context, c content, opts Options) (manifests []image.Document, err error) {
	for i, img := range c.images {
		p := packer{temp: w.temp, take: w.blob, has: w.has}
		layers, err := p.run(ctx, img, opts, c.observe(i, opts))
		if err != nil {
			return nil, err
		}
		config, manifest, err := opts.describe(ctx, i, img, layers, w.docker)
		if err != nil {
			return nil, err
		}
		if err := w.put(ctx, w.blobPath(config.Descriptor), config.Data); err != nil {
			return nil, err
		}
		manifests = append(manifests, manifest)
	}
	return manifests, nil
}

func (w *dirWriter) blobPath(d v1.Descriptor) string {
	if w.path != nil {
		return w.path(d)
	}
	return BlobPath(d.Digest)
}

// readIndex returns the layout's index.json. It is nil in an empty directory,
// and where a writer was killed before it had written the first one.
func (w *dirWriter) readIndex() (*ordjson.Object, error) {
	files := dirFiles{w.root}
	if _, err := w.root.Lstat(layoutName); errors.Is(err, fs.ErrNotExist) {
		return nil, w.mustBeEmpty()
	}
	if err := checkLayout(files); err != nil {
		return nil, err
	}
	data, err := readFile(files, indexName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	index, _, err := ocijson.ParseIndex(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", indexName, err)
	}
	return index, nil
}

// mustBeEmpty allows only what a killed writer may have left.
func (w *dirWriter) mustBeEmpty() error {
	names, err := w.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, tempName) && name != lockName && name != "blobs" {
			return fmt.Errorf("it is not empty (it has %q) and not an OCI layout: choose another directory", name)
		}
	}
	return nil
}

func (w *dirWriter) names() ([]string, error) {
	dir, err := w.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(-1)
}

// removeTemps removes what killed processes have left: no other process has the lock.
func (w *dirWriter) removeTemps() {
	names, _ := w.names()
	for _, name := range names {
		if strings.HasPrefix(name, tempName) {
			_ = w.root.Remove(name)
		}
	}
}

// makeDirs makes the directories for blobs and, in a new layout, oci-layout.
func (w *dirWriter) makeDirs(isNew bool) error {
	for _, dir := range []string{path.Dir(blobDir), blobDir} {
		if err := w.makeDir(dir); err != nil {
			return err
		}
	}
	if !isNew {
		return nil
	}
	return w.put(context.Background(), layoutName, layoutFile())
}

// makeDir makes a directory that does not exist.
func (w *dirWriter) makeDir(dir string) error {
	err := w.root.Mkdir(dir, 0o777)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		w.made = append(w.made, dir)
	}
	return err
}

// temp makes a file with a temporary name that cannot be guessed.
func (w *dirWriter) temp() (f *os.File, err error) {
	for range attempts {
		f, err = w.root.OpenFile(tempName+rand.Text()[:10], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return f, err
}

// has reports whether the directory has a blob that nobody else can change, and whether that is
// what its digest says. It returns the blob's first bytes.
func (w *dirWriter) has(ctx context.Context, d v1.Descriptor) (start []byte, ok bool) {
	f, err := regfile.OpenAt(w.root, w.blobPath(d))
	if err != nil {
		return nil, false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !owner.Trusted(info) || info.Size() != d.Size {
		return nil, false
	}
	h := &head{w: io.Discard}
	verified := layer.Verify(io.NopCloser(ctxio.Reader(ctx, f)), d)
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, verified, make([]byte, 1<<20)); err != nil {
		return nil, false
	}
	return h.start, f.Sync() == nil // other programs may not have synced it
}

// blob gives a layer's file its name.
func (w *dirWriter) blob(_ context.Context, file *os.File, desc v1.Descriptor) error {
	return w.keep(file, w.blobPath(desc))
}

// put writes a small file.
func (w *dirWriter) put(ctx context.Context, name string, data []byte) error {
	file, err := w.temp()
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Write(data); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return w.keep(file, name)
}

// keep syncs a temporary file to disk and renames it.
func (w *dirWriter) keep(file *os.File, name string) error {
	if err := file.Sync(); err != nil {
		return err
	}
	if dir := path.Dir(name); dir != "." { // of another algorithm than SHA-256
		if err := w.makeDir(dir); err != nil {
			return err
		}
	}
	if _, err := w.root.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		w.made = append(w.made, name)
	}
	return w.root.Rename(path.Base(file.Name()), name)
}

// commit adds the image to the layout's index.json.
func (w *dirWriter) commit(ctx context.Context, index []byte) error {
	for _, dir := range []string{blobDir512, blobDir, path.Dir(blobDir), "."} {
		if err := w.sync(dir); err != nil && !(dir == blobDir512 && errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	if err := w.put(ctx, indexName, index); err != nil {
		return err
	}
	w.made = nil // index.json lists it now
	return w.sync(".")
}

func (w *dirWriter) sync(dir string) error {
	f, err := w.root.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return syncOpen(f)
}

// undo removes what was made, in reverse order. Directories that somebody else has put something
// into stay.
func (w *dirWriter) undo() {
	w.removeTemps()
	for _, name := range slices.Backward(w.made) {
		_ = w.root.Remove(name)
	}
}

// addToIndex returns index.json with more images; a nil index stands for a new one.
func addToIndex(index *ordjson.Object, manifests []v1.Descriptor) ([]byte, error) {
	if index == nil {
		return ocijson.Index(manifests, nil)
	}
	for _, d := range manifests {
		if err := replaceManifest(index, d); err != nil {
			return nil, fmt.Errorf("%s: %w", indexName, err)
		}
	}
	data, err := ordjson.Marshal(index)
	if err == nil && len(data) > ocijson.MaxSize {
		err = fmt.Errorf("%s would have %d bytes, more than %d: take images out of the layout or choose another", indexName, len(data), ocijson.MaxSize)
	}
	return data, err
}

// syncOpen syncs a directory's names to disk, where the file system supports it.
func syncOpen(dir *os.File) error {
	err := dir.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}
