package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/varve-image/varve/dockerarchive"
	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/ocilayout"
)

// open opens the images that a reference names: all of a place, or the one of
// a name. The closer has to be closed when they are no longer needed.
func (g *global) open(ctx context.Context, ref string) ([]*image.Existing, io.Closer, error) {
	kind, path, name, err := parseSource(ref)
	if err != nil {
		return nil, nil, err
	}
	if images, closer, done, err := g.openNamed(ctx, kind, name); done {
		return images, closer, err
	}
	if path == "-" {
		if path, err = g.spool(ctx); err != nil {
			return nil, nil, err
		}
		defer os.Remove(path)
	}
	images, closer, err := openImages(ctx, g, kind, path)
	if err != nil {
		return nil, nil, fmt.Errorf("read image %s: %w", sourceName(ref), err)
	}
	if images, err = choose(images, name, ref); err != nil {
		closer.Close()
		return nil, nil, err
	}
	return images, closer, nil
}

// openNamed opens an image that has a name and no path: in a registry or an
// engine. done says that it was one.
func (g *global) openNamed(ctx context.Context, kind, name string) (_ []*image.Existing, _ io.Closer, done bool, err error) {
	switch {
	case kind == dockerRegistry:
		img, err := g.fromRegistry(ctx, name)
		if err != nil {
			return nil, nil, true, err
		}
		if repoTag, _, _ := strings.Cut(name, "@"); repoTag != "" {
			img.Names = append(img.Names, repoTag)
		}
		return []*image.Existing{img}, io.NopCloser(nil), true, nil
	case isEngine(kind):
		images, closer, err := g.fromEngine(ctx, kind, name)
		return images, closer, true, err
	}
	return nil, nil, false, nil
}

// close closes what a command left open.
func (g *global) close() {
	for _, c := range g.closers {
		c.Close()
	}
}

// sourceName is what messages call a reference.
func sourceName(ref string) string {
	if ref == "-" {
		return "standard input"
	}
	return strconv.Quote(ref)
}

// parseSource takes an image reference apart. The kind of a bare path is
// empty.
func parseSource(ref string) (kind, path, name string, err error) {
	kind, rest, found := cutTransport(ref)
	switch {
	case !found:
		return "", ref, "", nil
	case (isEngine(kind) || kind == dockerRegistry) && rest == "":
		return "", "", "", usageError(fmt.Errorf("image %q: the name is missing", ref))
	case isEngine(kind), kind == dockerRegistry:
		return kind, "", rest, nil
	}
	path, name, _ = strings.Cut(rest, ":")
	if path == "" {
		return "", "", "", usageError(fmt.Errorf("image %q: the path is missing", ref))
	}
	return kind, path, name, nil
}

// spool puts standard input into a temporary file.
func (g *global) spool(ctx context.Context) (string, error) {
	f, err := os.CreateTemp(g.tempDir(), "varve-stdin-")
	if err != nil {
		return "", err
	}
	defer f.Close()
	if _, err := io.Copy(f, ctxio.Reader(ctx, g.streams.In)); err != nil {
		os.Remove(f.Name())
		return "", fmt.Errorf("read standard input: %w", err)
	}
	return f.Name(), nil
}

// openImages opens what is at path, finding out what it is where kind does not
// say.
func openImages(ctx context.Context, g *global, kind, path string) ([]*image.Existing, io.Closer, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, nil, cause(err)
	}
	if kind == "" && isProgram(path, st) {
		return openProgram(ctx, g, path)
	}
	if kind == dockerArchive || kind == "" && !st.IsDir() {
		images, closer, err := openDockerArchive(ctx, g, path)
		if kind != "" || !errors.Is(err, dockerarchive.ErrNoManifest) {
			return images, closer, err
		}
	}
	return openLayout(ctx, g, path)
}

// isProgram tells whether path is a program, as streamLayeredImage of the Nix
// expressions makes them. Nothing else that holds an image begins so.
func isProgram(path string, st os.FileInfo) bool {
	if !st.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	first := make([]byte, 2)
	_, err = io.ReadFull(f, first)
	return err == nil && string(first) == "#!"
}

// openProgram opens the image that a program would write.
func openProgram(ctx context.Context, g *global, path string) ([]*image.Existing, io.Closer, error) {
	in, err := readInput(g, []string{path})
	if err != nil {
		return nil, nil, err
	}
	img, err := g.confImage(ctx, in, "")
	if err != nil {
		return nil, nil, err
	}
	existing, err := img.Existing(ctx)
	if err != nil {
		return nil, nil, err
	}
	return []*image.Existing{existing}, io.NopCloser(nil), nil
}

func openDockerArchive(ctx context.Context, g *global, path string) ([]*image.Existing, io.Closer, error) {
	a, err := dockerarchive.Open(ctx, path, g.tempDir())
	if err != nil {
		return nil, nil, err
	}
	images := make([]*image.Existing, a.Images())
	for i := range images {
		if images[i], err = a.Image(i); err != nil {
			a.Close()
			return nil, nil, err
		}
	}
	return images, a, nil
}

func openLayout(ctx context.Context, g *global, path string) ([]*image.Existing, io.Closer, error) {
	l, err := ocilayout.Open(ctx, path, g.tempDir())
	if err != nil {
		return nil, nil, err
	}
	images, err := layoutImages(ctx, l)
	if err != nil {
		l.Close()
		return nil, nil, err
	}
	return images, l, nil
}

func layoutImages(ctx context.Context, l *ocilayout.Layout) ([]*image.Existing, error) {
	entries, err := l.Entries(ctx)
	if err != nil {
		return nil, err
	}
	images := make([]*image.Existing, len(entries))
	for i, e := range entries {
		if images[i], err = l.Image(ctx, e); err != nil {
			return nil, err
		}
	}
	return images, nil
}

// choose picks the image that has a name. No name picks all.
func choose(images []*image.Existing, name, ref string) ([]*image.Existing, error) {
	if name == "" {
		return images, nil
	}
	var have []string
	for _, img := range images {
		for _, n := range img.Names {
			if n == name {
				return []*image.Existing{img}, nil
			}
			have = append(have, fmt.Sprintf("%q", n))
		}
	}
	return nil, usageError(fmt.Errorf("image %q: nothing there has this name, but %s", ref, strings.Join(have, ", ")))
}
