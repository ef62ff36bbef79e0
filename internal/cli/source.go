package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/internal/place/registry"
	"github.com/varve-image/varve/internal/problems"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/internal/tarindex"
)

// opened are the images that a reference names. They stay open until the command ends.
type opened struct {
	images []*image.Existing
	// asked is the name in the reference, if there is one.
	asked string
}

// open opens the images that a reference names: all of a place, or the one of
// a name. Of one for several platforms that for --platform is taken.
func (g *global) open(ctx context.Context, ref string) (*opened, error) {
	src, name, err := g.openSource(ctx, ref)
	if err != nil {
		return nil, err
	}
	g.closers = append(g.closers, src)
	platform, err := g.registry.choice()
	if err != nil {
		return nil, err
	}
	if name != "" {
		img, err := g.selectChoice(ctx, src, name)
		return &opened{[]*image.Existing{img}, name}, err
	}
	each, err := g.selectEach(ctx, src, platform)
	if err != nil {
		return nil, err
	}
	numbers := make([]int, len(each))
	for n, c := range each {
		numbers[n] = c.Number
	}
	images, err := g.openNumbers(ctx, src, numbers)
	if err != nil {
		return nil, err
	}
	for n, img := range images {
		img.Names = each[n].Names
		if err := g.checkChoice(src, img); err != nil {
			return nil, err
		}
	}
	return &opened{images, ""}, nil
}

// selectEach chooses all images of a place, or those for --platform, where that is
// given.
func (g *global) selectEach(ctx context.Context, src image.Source, platform v1.Platform) ([]image.Choice, error) {
	if g.registry.platform == "" {
		each, err := image.SelectEach(ctx, src, platform)
		return each, usageError(err)
	}
	each, others, err := image.SelectFor(ctx, src, platform)
	if others > 0 {
		g.ui.Warn("%s: left out: %s for other platforms than %s", src, plural(others, "image"), ocijson.PlatformText(&platform))
	}
	return each, usageError(err)
}

// openOne opens the one image that a reference names. It stays open until the
// command ends.
func (g *global) openOne(ctx context.Context, ref string) (*image.Existing, error) {
	src, name, err := g.openSource(ctx, ref)
	if err != nil {
		return nil, err
	}
	g.closers = append(g.closers, src)
	return g.selectChoice(ctx, src, name)
}

// selectChoice opens the image of a name for --platform.
func (g *global) selectChoice(ctx context.Context, src image.Source, name string) (*image.Existing, error) {
	platform, err := g.registry.choice()
	if err != nil {
		return nil, err
	}
	img, err := g.selectImage(ctx, src, name, platform)
	if err == nil {
		err = g.checkChoice(src, img)
	}
	return img, err
}

// checkChoice refuses an image that stands alone and is not for the platform
// that was asked for. Where none was, it is taken for any.
func (g *global) checkChoice(src image.Source, img *image.Existing) error {
	if g.registry.platform == "" {
		return nil
	}
	want, err := g.registry.choice()
	if err != nil {
		return err
	}
	if err := img.CheckFor(want); err != nil {
		return usageError(fmt.Errorf("read %s: %w", src, err))
	}
	return nil
}

// openEvery opens the images that a reference names, of an index those for all
// platforms. They stay open until the command ends.
func (g *global) openEvery(ctx context.Context, ref string) (*opened, error) {
	src, name, err := g.openSource(ctx, ref)
	if err != nil {
		return nil, err
	}
	g.closers = append(g.closers, src)
	all, err := image.SelectAll(ctx, src, name)
	if err != nil {
		return nil, usageError(err)
	}
	images, err := g.openNumbers(ctx, src, all)
	return &opened{images, name}, err
}

// maxDocuments bounds the manifests and configs of all images that are opened
// at once, in bytes.
const maxDocuments = 32 << 20

// openNumbers opens images by their numbers in their place. What of them is not there
// is told at once.
func (g *global) openNumbers(ctx context.Context, src image.Source, numbers []int) ([]*image.Existing, error) {
	var images []*image.Existing
	var missing problems.List
	size := 0
	for n, i := range numbers {
		img, err := g.openBounded(ctx, src, i)
		var lacks *lackingError
		switch {
		case errors.As(err, &lacks):
			missing.Add(err)
			continue
		case err != nil:
			return nil, err
		}
		if size += len(img.Manifest) + len(img.ConfigJSON); size > maxDocuments && n > 0 {
			return nil, usageError(hint(fmt.Errorf("%s: the manifests and configs of its images have together more than %d bytes", src, maxDocuments), "name one of them"))
		}
		images = append(images, img)
	}
	return images, missing.Err()
}

func (g *global) selectImage(ctx context.Context, src image.Source, name string, platform v1.Platform) (*image.Existing, error) {
	i, err := image.Select(ctx, src, name, platform)
	if err != nil {
		return nil, usageError(err)
	}
	if others := image.Others(src.List(), i); name == "" && others > 0 {
		g.ui.Warn("%s holds %s besides %s, which is taken: say by name which one is meant", src, plural(others, "image"), listedName(src.List()[i], i))
	}
	return g.openBounded(ctx, src, i)
}

// listedName is what an image is called in messages.
func listedName(l image.Listed, i int) string {
	if len(l.Names) == 0 {
		return fmt.Sprintf("@%d", i)
	}
	return strconv.Quote(l.Names[0])
}

// lackingError is that of an image that its place lists and does not have.
type lackingError struct{ error }

func (l *lackingError) Unwrap() error { return l.error }

// openBounded opens an image whose layers end when they come to more than the
// limit.
func (g *global) openBounded(ctx context.Context, src image.Source, i int) (*image.Existing, error) {
	img, err := src.Open(ctx, i)
	if listed := src.List()[i]; errors.Is(err, fs.ErrNotExist) && listed.Descriptor.Digest != "" {
		what := "an image"
		if p := listed.Descriptor.Platform; p != nil {
			what = "the image for " + ocijson.PlatformText(p)
		}
		return nil, &lackingError{fmt.Errorf("%s is listed, and not there: %w", what, err)}
	}
	if err != nil {
		return nil, err
	}
	img.Bound(g.imageBudget())
	what := "image " + listedName(src.List()[i], i)
	if d := img.ManifestDescriptor.Digest; d != "" {
		what = "manifest " + d.String()
	}
	g.ui.Debug("%s: %s, %s", src, what, plural(len(img.Layers), "layer"))
	return img, nil
}

// openSource opens the place that a reference names, and returns the name in
// it that is meant, if any.
func (g *global) openSource(ctx context.Context, ref string) (image.Source, string, error) {
	kind, path, name, err := parseSource(ref)
	switch {
	case err != nil:
		return nil, "", err
	case kind == dockerRegistry:
		src, err := g.resolve(ctx, name)
		return src, name, err
	case isEngine(kind):
		src, err := g.fromEngine(ctx, kind, name)
		if err == nil && !image.Has(src, name) { // an id, or spelt in another way
			name = ""
		}
		return src, name, err
	}
	src, err := g.openPath(ctx, kind, path)
	return src, name, err
}

// openFor opens the image of a name for a platform. It stays open until the command
// ends.
func (g *global) openFor(ctx context.Context, src image.Source, name string, platform v1.Platform) (*image.Existing, error) {
	g.closers = append(g.closers, src)
	return g.selectImage(ctx, src, name, platform)
}

// close closes what a command left open.
func (g *global) close() {
	for _, c := range g.closers {
		c.Close()
	}
}

// stdinName is what messages call standard input.
const stdinName = "standard input"

// sourceName is what messages call a reference.
func sourceName(ref string) string {
	if ref == "-" {
		return stdinName
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
	case kind == layerDir:
		return "", "", "", usageError(fmt.Errorf("image %q: a layer by itself is no image; name it in a spec's layers", ref))
	case (isEngine(kind) || kind == dockerRegistry) && rest == "":
		return "", "", "", usageError(fmt.Errorf("image %q: the name is missing", ref))
	case kind == dockerRegistry:
		return kind, "", rest, usageError(registry.CheckReference(rest))
	case isEngine(kind):
		return kind, "", rest, nil
	}
	if path, name = cutName(rest); path == "" {
		return "", "", "", usageError(fmt.Errorf("image %q: the path is missing", ref))
	}
	return kind, path, name, nil
}

// cutName takes PATH[:NAME] or PATH@DIGEST apart.
func cutName(text string) (path, name string) {
	path, name, _ = strings.Cut(text, ":")
	if at := strings.LastIndexByte(path, '@'); at >= 0 {
		if _, err := ocijson.ParseDigest(text[at+1:]); err == nil {
			return text[:at], text[at:]
		}
	}
	return path, name
}

// openPath opens what is at path, or in standard input for -, finding out what
// it is where kind does not say.
func (g *global) openPath(ctx context.Context, kind, path string) (image.Source, error) {
	if path == "-" && kind != imageDir {
		if err := g.takeStdin("an image"); err != nil {
			return nil, err
		}
		t, err := tarindex.Read(ctx, g.streams.In, g.archiveOptions())
		return openTar(ctx, kind, stdinName, t, err)
	}
	st, err := os.Stat(path)
	switch {
	case err != nil:
		err = fmt.Errorf("read image %q: %w", path, cause(err))
		if kind == "" { // or it was said that it is a file
			err = missingImage(path, err)
		}
		return nil, fileError(err)
	case kind == "" && isProgram(path, st):
		return openProgram(ctx, g, path)
	case kind == imageDir, kind == "" && st.IsDir() && ocilayout.IsImageDir(path):
		return asSource(ocilayout.OpenImageDir(ctx, path))
	case st.IsDir() && kind != dockerArchive:
		return asSource(ocilayout.Open(ctx, path, ""))
	}
	t, err := tarindex.Open(ctx, path, g.archiveOptions())
	return openTar(ctx, kind, path, t, err)
}

// openTar opens the images of an archive, whatever it is where kind does not
// say, unless there was an error before.
func openTar(ctx context.Context, kind, name string, t *tarindex.Archive, err error) (image.Source, error) {
	if err != nil {
		return nil, fmt.Errorf("read image %q: %w", name, err)
	}
	if kind == "" && !t.Has("manifest.json") && !t.Has("oci-layout") {
		t.Close()
		return nil, fmt.Errorf("read image %q: it is no docker-archive, which has a manifest.json, and not an OCI layout, which has an oci-layout", name)
	}
	var src image.Source
	if kind == dockerArchive || kind == "" && t.Has("manifest.json") {
		src, err = openDockerArchive(ctx, name, t)
	} else {
		src, err = asSource(ocilayout.FromTar(ctx, name, t))
	}
	if err != nil {
		t.Close()
	}
	return src, err
}

// asSource makes nothing of a source that is none.
func asSource[S image.Source](s S, err error) (image.Source, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// isProgram tells whether path is a program, as streamLayeredImage of the Nix
// expressions makes them. Nothing else that holds an image begins so.
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

// openProgram opens the image that a program would write.
func openProgram(ctx context.Context, g *global, path string) (image.Source, error) {
	in, err := readInput(g, []string{path})
	if err != nil {
		return nil, err
	}
	img, err := g.confImage(ctx, in, "")
	if err != nil {
		return nil, err
	}
	existing, err := img.Existing(ctx)
	if err != nil {
		return nil, err
	}
	return program{path, existing}, nil
}

// program is the source of the image that a program would write.
type program struct {
	path  string
	image *image.Existing
}

func (p program) String() string                                     { return fmt.Sprintf("program %q", p.path) }
func (p program) List() []image.Listed                               { return []image.Listed{{Names: p.image.Names}} }
func (p program) Open(context.Context, int) (*image.Existing, error) { return p.image, nil }
func (p program) Close() error                                       { return nil }
