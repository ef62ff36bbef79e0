package place

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/internal/place/engine"
	"github.com/varve-image/varve/internal/place/hybrid"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/internal/place/registry"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/internal/tarindex"
)

// Open opens the place that a reference names, and returns the name of the image to choose
// there; empty if the place has only that one, or if all of its images are meant.
func Open(ctx context.Context, r Ref, opts Options) (image.Source, string, error) {
	switch {
	case r.Transport == Registry:
		src, err := openRegistry(ctx, r.Name, opts)
		return src, r.Name, err
	case r.Transport.IsEngine():
		return openEngine(ctx, r, opts)
	}
	src, err := OpenPath(ctx, r.Transport, r.Path, opts)
	return src, r.Name, err
}

func openRegistry(ctx context.Context, ref string, opts Options) (image.Source, error) {
	registryOpts, err := opts.RegistryOptions(ref)
	if err != nil {
		return nil, err
	}
	return asSource(registry.Resolve(ctx, ref, registryOpts))
}

// openEngine opens the archive of an engine's image.
func openEngine(ctx context.Context, r Ref, opts Options) (image.Source, string, error) {
	e, err := opts.engine(ctx, r.Transport)
	if err != nil {
		return nil, "", err
	}
	stream, err := engine.Open(ctx, e, r.Name, opts.platform)
	if err != nil {
		return nil, "", err
	}
	defer stream.Close()
	t, err := tarindex.Read(ctx, stream, opts.archive())
	src, err := openTar(ctx, DockerArchive, string(r.Transport)+":"+r.Name, t, err)
	if err != nil {
		return nil, "", err
	}
	if !image.Has(src, r.Name) { // an id, or another spelling
		return src, "", nil
	}
	return src, r.Name, nil
}

// StdinName is the name of standard input in messages.
const StdinName = "standard input"

// OpenPath opens what is at path, or standard input for -. Where the transport does not say what
// it is, OpenPath finds out.
func OpenPath(ctx context.Context, t Transport, path string, opts Options) (image.Source, error) {
	if path == "-" && t != ImageDir {
		return openStdin(ctx, t, opts)
	}
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, missing(t, path, err)
	case t == Unknown && opts.Program != nil && isProgram(path, st):
		return opts.Program(ctx, path)
	case t == ImageDir, t == Unknown && st.IsDir() && ocilayout.IsImageDir(path):
		return asSource(ocilayout.OpenImageDir(ctx, path))
	case st.IsDir() && t != DockerArchive:
		return asSource(ocilayout.Open(ctx, path, ""))
	}
	archive, err := tarindex.Open(ctx, path, opts.archive())
	return openTar(ctx, t, path, archive, err)
}

// notFound is the error of a path where nothing is.
type notFound struct{ error }

func (e notFound) Unwrap() error { return e.error }

func (notFound) Is(target error) bool { return target == image.ErrNotFound }

// missing explains the error of a path that cannot be opened.
func missing(t Transport, path string, err error) error {
	err = fmt.Errorf("read image %q: %w", path, regfile.Cause(err))
	if errors.Is(err, fs.ErrNotExist) {
		err = notFound{err}
	}
	switch {
	case t == Unknown && errors.Is(err, fs.ErrNotExist): // otherwise the reference said that it is a file
		return &RefError{err, Hints(path)}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return &RefError{Err: err}
	}
	return err
}

func openStdin(ctx context.Context, t Transport, opts Options) (image.Source, error) {
	if opts.Stdin == nil {
		return nil, errors.New("there is no standard input")
	}
	in, err := opts.Stdin()
	if err != nil {
		return nil, err
	}
	archive, err := tarindex.Read(ctx, in, opts.archive())
	return openTar(ctx, t, StdinName, archive, err)
}

// openTar opens the images of an archive, unless err is set. Where the transport does not say
// what kind it is, openTar finds out.
func openTar(ctx context.Context, kind Transport, name string, t *tarindex.Archive, err error) (image.Source, error) {
	if err != nil {
		return nil, fmt.Errorf("read image %q: %w", name, err)
	}
	if (kind == Unknown || kind == Archive) && !t.Has("manifest.json") && !t.Has("oci-layout") {
		t.Close()
		return nil, fmt.Errorf("read image %q: it is not a docker-archive, which has a manifest.json, and not an OCI layout, which has an oci-layout", name)
	}
	var src image.Source
	if kind == DockerArchive || kind != OCIArchive && t.Has("manifest.json") {
		src, err = openDockerArchive(ctx, kind, name, t)
	} else {
		src, err = asSource(ocilayout.FromTar(ctx, name, t))
	}
	if err != nil {
		t.Close()
	}
	return src, err
}

// openDockerArchive opens an archive with a manifest.json. What is said to be a docker-archive is
// read as docker load reads it where its halves contradict each other.
func openDockerArchive(ctx context.Context, kind Transport, name string, t *tarindex.Archive) (image.Source, error) {
	src, err := hybrid.Open(ctx, name, t)
	var contradiction *hybrid.ContradictionError
	if kind == DockerArchive && errors.As(err, &contradiction) {
		return asSource(dockerarchive.FromTar(name, t))
	}
	return src, err
}

// asSource returns a nil source if there was an error.
func asSource[S image.Source](s S, err error) (image.Source, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// isProgram reports whether path is a program, as streamLayeredImage of the Nix expressions
// makes them. Nothing else that holds an image begins like that.
func isProgram(path string, st os.FileInfo) bool {
	if !st.Mode().IsRegular() {
		return false
	}
	f, err := regfile.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	first := make([]byte, 2)
	_, err = io.ReadFull(f, first)
	return err == nil && string(first) == "#!"
}
