package cli

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/place/registry"
	"github.com/varve-image/varve/internal/ui"
	"github.com/varve-image/varve/spec"
)

// The kinds of places that an image can be written to.
const (
	dockerArchive = "docker-archive"
	ociDir        = "oci"
	ociArchive    = "oci-archive"
	layerDir      = "layer"
	imageDir      = "dir"
)

// destination is where an image is written to.
type destination struct {
	kind string
	// path is a file or directory; "-" is standard output. An engine has none.
	path string
	// name is what follows the path: NAME:TAG in a docker-archive, a name
	// within a layout.
	name string
	// compression is the archive's in a docker-archive, the layers' elsewhere.
	compression compress.Compression
	// ids are those of images as they were written, where the place may have changed them.
	ids map[*image.Image]digest.Digest
}

// String names the place for messages.
func (d *destination) String() string {
	switch {
	case d.kind == dockerRegistry:
		return d.kind + "://" + d.name
	case isEngine(d.kind):
		return d.kind
	}
	return d.path
}

// parseDestination reads what -o was given. Empty is a file in the current
// directory that is called after the image.
func parseDestination(text string, s *spec.Spec) (*destination, error) {
	compression, explicit, err := specCompression(s)
	if err != nil {
		return nil, err
	}
	if text == "" {
		text = path.Base(s.Name) + ".tar" + compression.Ext()
	}
	d := &destination{compression: compression}
	if err := d.parse(text); err != nil {
		return nil, err
	}
	if d.kind != dockerArchive {
		return d, nil
	}
	algorithm, ok := archiveCompression(d.path)
	switch {
	case !ok:
		if d.path == "-" && !explicit {
			d.compression = compress.Compression{Algorithm: compress.None}
		}
	case explicit && algorithm != compression.Algorithm:
		return nil, usageError(fmt.Errorf("the name %q says compression %q and the compressor %q: change one of them", d.path, algorithm, compression.Algorithm))
	case algorithm != compression.Algorithm:
		d.compression = compress.Compression{Algorithm: algorithm}
	}
	return d, nil
}

// specCompression is the compression that a spec asks for, and whether it
// does.
func specCompression(s *spec.Spec) (compress.Compression, bool, error) {
	if s.Compressor == "" {
		return compress.Compression{Algorithm: compress.Gzip}, false, nil
	}
	c, err := compress.Parse(s.Compressor)
	return c, true, usageError(err)
}

// parse takes a destination apart.
func (d *destination) parse(text string) error {
	kind, rest, found := cutTransport(text)
	switch {
	case found && isEngine(kind):
		d.kind, d.name = kind, rest
		return d.checkName(text)
	case found && kind == dockerRegistry:
		d.kind, d.name = kind, rest
		if strings.Contains(rest, "@") {
			return usageError(fmt.Errorf("destination %q: an image is written by tag, its digest is what it comes to", text))
		}
		if err := registry.CheckReference(rest); err != nil {
			return usageError(fmt.Errorf("destination %q: %w", text, err))
		}
		return nil
	case found:
		d.kind = kind
		if d.path, d.name = cutName(rest); d.kind != layerDir && strings.HasPrefix(d.name, "@") {
			return usageError(fmt.Errorf("destination %q: an image is written by name, its number and its digest are what they come to", text))
		}
	case strings.HasSuffix(text, "/"):
		d.kind, d.path = ociDir, text
	case text == "-":
		d.kind, d.path = dockerArchive, text
	default:
		if _, ok := compress.TarName(text); !ok {
			return usageError(hint(fmt.Errorf("destination %q: its name does not say what it is to be", text),
				append(referenceHints(text), "end it in .tar, .tar.gz or .tar.zst for a docker-archive, in / for an OCI layout, or put docker-archive:, oci:, oci-archive:, dir:, docker:// or an engine's transport before it")...))
		}
		d.kind, d.path = dockerArchive, text
	}
	if d.path == "" {
		return usageError(fmt.Errorf("destination %q: the path is missing", text))
	}
	if err := d.checkEnding(text); err != nil {
		return err
	}
	return d.checkName(text)
}

// hasRepoTag tells that the destination's name is the image's own.
func (d *destination) hasRepoTag() bool { return d.kind == dockerArchive || isEngine(d.kind) }

// hasName tells that the destination is for one image, whose name it says.
func (d *destination) hasName() bool {
	if d.kind == dockerRegistry {
		return tagOf(d.name) != ""
	}
	return d.name != ""
}

// where is the place for messages, with a file's size.
func (d *destination) where() string {
	if st, err := os.Stat(d.path); err == nil && st.Mode().IsRegular() {
		return d.String() + " (" + ui.Size(st.Size()) + ")"
	}
	return d.String()
}

// tagOf is the tag that a reference has; empty for none.
func tagOf(ref string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ""
	}
	tagged, ok := named.(reference.Tagged)
	if !ok {
		return ""
	}
	return tagged.Tag()
}

// isTag tells whether a name within a layout can be a tag.
func isTag(name string) bool { return name != "" && tagOf("x:"+name) == name }

// registryRefs are what an image is called in a registry: as the destination says,
// and where that has no tag by each of the tags of the image's own names.
func (d *destination) registryRefs(repoTags, refNames []string) []string {
	if tagOf(d.name) != "" {
		return []string{d.name}
	}
	var tags []string
	if own := image.InPlaceOfTag(repoTags, refNames); isTag(own) {
		tags, repoTags = []string{own}, nil
	}
	for _, name := range repoTags {
		tags = append(tags, tagOf(name))
	}
	for _, name := range refNames {
		if isTag(name) {
			tags = append(tags, name)
		}
	}
	if len(tags) == 0 {
		tags = []string{"latest"}
	}
	var refs []string
	for _, tag := range tags {
		if ref := d.name + ":" + tag; !slices.Contains(refs, ref) {
			refs = append(refs, ref)
		}
	}
	return refs
}

// namesOf are the names that an image has at the destination, as messages say them.
func (d *destination) namesOf(repoTags, refNames []string) []string {
	if d.kind != ociDir && d.kind != ociArchive {
		return repoTags
	}
	if d.name != "" {
		refNames = []string{d.name}
	}
	all := slices.Clone(repoTags)
	for _, name := range refNames {
		if !slices.ContainsFunc(repoTags, func(full string) bool { return tagOf(full) == name }) {
			all = append(all, name)
		}
	}
	return all
}

// idOf is the id of an image as it was written.
func (d *destination) idOf(ctx context.Context, img *image.Image) (digest.Digest, error) {
	if id, ok := d.ids[img]; ok {
		return id, nil
	}
	return img.ID(ctx)
}

// described notes the id by which an image was written.
func (d *destination) described(img *image.Image, id digest.Digest) {
	if d.ids == nil {
		d.ids = map[*image.Image]digest.Digest{}
	}
	d.ids[img] = id
}

func (d *destination) checkName(text string) error {
	if d.hasRepoTag() && d.name != "" {
		if _, _, err := image.SplitRepoTag(d.name); err != nil {
			return usageError(fmt.Errorf("destination %q: %w", text, err))
		}
	}
	return nil
}

// outside refuses a destination that lies in a directory that is copied into
// the image: the next image would hold this one.
func (d *destination) outside(s *spec.Spec) error {
	copies := slices.Clone(s.CopyToRoot)
	for _, g := range s.Layers {
		copies = append(copies, g.CopyToRoot...)
	}
	var sources []string
	for _, c := range copies {
		sources = append(sources, c.Source)
	}
	return d.outsideOf(sources, "is copied into the image")
}

// outsideOf refuses a destination that lies in a directory that is put into
// it.
func (d *destination) outsideOf(sources []string, what string) error {
	if d.path == "-" || d.path == "" {
		return nil
	}
	at, err := filepath.Abs(d.path)
	if err != nil {
		return err
	}
	for _, source := range sources {
		dir, err := filepath.Abs(source)
		if err != nil {
			return err
		}
		if st, err := os.Stat(dir); err == nil && st.IsDir() && strings.HasPrefix(at+"/", strings.TrimSuffix(dir, "/")+"/") {
			return usageError(hint(fmt.Errorf("the output %q lies in %q, which %s", d.path, source, what),
				"write it elsewhere, or what is made next will hold it"))
		}
	}
	return nil
}

// archiveCompression tells by its name how an archive that varve writes is
// compressed.
func archiveCompression(name string) (compress.Algorithm, bool) {
	algorithm, ok := compress.TarName(name)
	return algorithm, ok && algorithm.Writable()
}

// checkEnding refuses an archive whose name would say that it is compressed as it is
// not.
func (d *destination) checkEnding(text string) error {
	format, ok := compress.TarName(d.path)
	if ok && !format.Writable() && d.kind == dockerArchive {
		return usageError(hint(fmt.Errorf("destination %q: varve does not compress archives with %s", text, format), "end it in .tar, .tar.gz or .tar.zst"))
	}
	if ok && format != compress.None && d.kind == ociArchive {
		return usageError(hint(fmt.Errorf("destination %q: the archive of an OCI layout is not compressed, its layers are", text), "end it in .tar"))
	}
	return nil
}
