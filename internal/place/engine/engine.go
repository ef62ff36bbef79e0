// Package engine loads images into container engines, and saves them from there: Docker, Podman,
// containerd, and the storage that Podman, Buildah and CRI-O share.
//
// Guarantees:
//
//   - An image goes to an engine, and comes from it, as a stream: an archive, which this package
//     neither makes nor reads.
//   - What an engine has is not sent again. An image is identified by its id, the digest of its
//     config, or where the engine keeps manifests by its manifest. Of a new image, layers that the
//     engine has are left out if that spares more than a mebibyte; if the engine lost them after
//     it was asked, the whole image is sent.
//   - A name that exists does not move to an image of which parts are missing, and no new name is
//     left on one.
//   - An engine is not trusted: what it says is limited, messages quote it, and after a load it
//     is asked for the image once more.
//   - A question has an answer in five minutes or fails. A load or a save fails if it makes no
//     progress for half an hour, or next to none (4 KiB a second); an engine that has a whole
//     archive has a second more for each MiB of it.
//   - A context that is done ends every call within a second. A load that fails ends before the
//     archive does, so that no engine takes it for a whole one. No processes or connections are
//     left.
//   - An engine that cannot be reached is a *lack.Error that says what to do.
//
// Docker and Podman's service are reached over HTTP (Docker Engine API 1.24 and later:
// /images/load, /images/NAME/get, /images/NAME/json; to leave out layers, /info, /images/json and
// /images/NAME/tag), at a socket, over TCP with or without TLS,
// or through ssh, which runs the engine's own client on the other machine. Docker's contexts are
// read as docker reads them. containerd is reached through its own ctr, and Podman's storage and
// connections through podman, or the storage through skopeo, because there is no service to talk
// to.
//
// Non-goals: containers; removing images that others have loaded; reading the environment, which the caller
// does.
package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
)

// Engine is a container engine's store of images. A name in it is one that the engine's own
// commands accept, mostly NAME:TAG.
type Engine interface {
	// String names the engine and where it is.
	String() string
	// Identify returns what tells the image that the engine calls name from others; ErrNotFound if
	// it does not have it.
	Identify(ctx context.Context, name string) (Identity, error)
	// Load makes the engine read an archive of the image. It returns the names, or ids, that the
	// engine says it loaded.
	Load(ctx context.Context, img *Image) ([]string, error)
	// Save returns an image as an archive; ErrNotFound if there is none. Of an image for several
	// platforms it returns the one for platform, in the form OS/ARCH[/VARIANT], or what the engine
	// chooses if that is empty. If the engine fails, there is an error instead of io.EOF. Close ends
	// it at any time.
	Save(ctx context.Context, name, platform string) (io.ReadCloser, error)
}

// Identity tells an image from others.
type Identity struct {
	// ID is the image's id, the digest of its config; "" if the engine does not say.
	ID digest.Digest
	// Manifest is the digest of its manifest, or of an index, in an engine that keeps these; there
	// the same config under another manifest is another image.
	Manifest digest.Digest
	// Incomplete says that the engine has not all of it.
	Incomplete bool
}

// is reports whether it is that image.
func (i Identity) is(ctx context.Context, img *Image) (bool, error) {
	switch {
	case i.Incomplete:
		return false, nil
	case i.Manifest == "" && img.Index:
		return false, nil
	case i.Manifest == "":
		return i.ID == img.ID || i.ID == img.manifest, nil // the latter in Docker 25 to 27, with containerd's store
	case img.manifest != "": // what was sent
		return i.Manifest == img.manifest, nil
	case img.archive.Describe == nil:
		return i.ID == img.ID, nil
	}
	d, err := img.description(ctx)
	return i.Manifest == d.Manifest, err
}

// String describes the image for messages.
func (i Identity) String() string {
	switch {
	case i.Manifest != "" && i.Incomplete:
		return fmt.Sprintf("%s, of which parts are missing", i.Manifest)
	case i.Manifest != "":
		return i.Manifest.String()
	}
	return i.ID.String()
}

// ErrNotFound says that an engine does not have an image.
var ErrNotFound error = notFound{}

type notFound struct{}

func (notFound) Error() string { return "the engine has no such image" }

func (notFound) Is(target error) bool { return target == image.ErrNotFound }

// Loaded describes an image as an engine has it.
type Loaded struct {
	// ID is the image's id, and Names its names: its own or, where it has none, the engine's.
	ID    digest.Digest
	Names []string
	// Manifest is the digest of its manifest, in an engine that keeps manifests.
	Manifest digest.Digest
	// Present says that the engine had the image under all its names already, and nothing was
	// sent.
	Present bool
}

// Load loads the image into the engine: archive writes it, with its own names. It is an error if
// the engine then has another image under one of them.
func Load(ctx context.Context, e Engine, img image.Named, archive Archive) (Loaded, error) {
	i, err := newImage(ctx, img, archive)
	return loadNew(ctx, e, i, err)
}

// LoadIndex loads an index with all its images, into an engine that keeps manifests.
func LoadIndex(ctx context.Context, e Engine, x *image.Index, archive Archive) (Loaded, error) {
	i, err := newIndex(ctx, x, archive)
	return loadNew(ctx, e, i, err)
}

// loadNew loads what was found out of an image, with the error of that.
func loadNew(ctx context.Context, e Engine, i *Image, err error) (Loaded, error) {
	var loaded Loaded
	if err == nil {
		loaded, err = load(ctx, e, i)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		var names []string
		if i != nil {
			names = i.Names
		}
		return Loaded{}, fmt.Errorf("load image %q into %s: %w", strings.Join(names, ", "), e, err)
	}
	return loaded, nil
}

func load(ctx context.Context, e Engine, img *Image) (l Loaded, err error) {
	l.ID, l.Names = img.ID, img.Names
	if l.Present, l.Manifest, err = present(ctx, e, img); err != nil || l.Present {
		return l, err
	}
	said, err := e.Load(ctx, img)
	if err != nil {
		return l, err
	}
	if len(l.Names) == 0 {
		if len(said) == 0 {
			return l, errors.New("it does not say that it loaded an image")
		}
		l.Names = said
		return l, nil
	}
	for _, name := range l.Names {
		has, err := e.Identify(ctx, name)
		if errors.Is(err, ErrNotFound) {
			return l, fmt.Errorf("%q: it loaded %s, and has no image of the name now", name, shown(strings.Join(said, ", ")))
		}
		if err != nil {
			return l, err
		}
		is, err := has.is(ctx, img)
		if err != nil {
			return l, err
		}
		if !is && has != (Identity{}) {
			want := img.ID
			if has.Manifest != "" {
				want = cmp.Or(img.manifest, want)
			}
			return l, fmt.Errorf("%q: it loaded %s, and has image %s by the name now, not %s", name, shown(strings.Join(said, ", ")), has, want)
		}
		l.Manifest = has.Manifest
	}
	return l, nil
}

// present reports whether the engine has the image under all its names, or, if it has none,
// under its id, and the digest of the manifest that the engine has.
func present(ctx context.Context, e Engine, img *Image) (ok bool, manifest digest.Digest, err error) {
	names := img.Names
	if len(names) == 0 && !img.Index {
		names = []string{img.ID.String()}
	}
	for _, name := range names {
		has, err := e.Identify(ctx, name)
		if errors.Is(err, ErrNotFound) && len(img.Names) == 0 && img.archive.Describe != nil {
			var d Description
			if d, err = img.description(ctx); err == nil {
				has, err = e.Identify(ctx, d.Manifest.String())
			}
		}
		if errors.Is(err, ErrNotFound) {
			return false, "", nil
		}
		if err != nil {
			return false, "", err
		}
		if is, err := has.is(ctx, img); err != nil || !is {
			return false, "", err
		}
		manifest = has.Manifest
	}
	return len(names) > 0, manifest, nil
}

// Open returns an engine's image as a docker-archive, for dockerarchive.Read. name is NAME:TAG,
// NAME@DIGEST or an id, platform as for Engine.Save.
func Open(ctx context.Context, e Engine, name, platform string) (io.ReadCloser, error) {
	err := checkName(name)
	if err == nil {
		// Engines have their own words for a missing image, and some say it only after the
		// archive has begun.
		_, err = e.Identify(ctx, name)
	}
	var r io.ReadCloser
	if err == nil {
		r, err = e.Save(ctx, name, platform)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("get image %q from %s: %w", name, e, err)
	}
	return r, nil
}

// maxName limits a name, in bytes.
const maxName = 512

// checkName refuses what is not an image's name, before it becomes part of a URL or an argument
// of a command.
func checkName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("a name of %d bytes: more than %d", len(name), maxName)
	}
	if strings.HasPrefix(name, "sha256:") {
		_, err := digest.Parse(name)
		return err
	}
	_, err := reference.ParseAnyReference(name)
	return err
}

// fullName returns a name with its registry and a tag.
func fullName(name string) (string, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return "", err
	}
	return reference.TagNameOnly(named).String(), nil
}

// notThere returns the error for an image that an engine does not have.
func notThere(name string) error {
	return fmt.Errorf("%q: %w", name, ErrNotFound)
}

// maxText limits how much of an engine's output, which may be a whole page, is kept and shown,
// in bytes.
const (
	maxText  = 64 << 10
	maxShown = 1000
)

// shown returns an engine's output for a message: its end, where programs say why they stopped.
func shown(text string) string {
	text = strings.TrimSpace(text)
	if len(text) > maxShown {
		text = "…" + text[len(text)-maxShown:]
	}
	return fmt.Sprintf("%q", text)
}

// maxNames limits how many names of loaded images are kept: they are for messages.
const maxNames = 10

// loadedNames returns the first names in the lines in which Docker and Podman say what they have
// loaded.
func loadedNames(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		for _, prefix := range []string{"Loaded image: ", "Loaded image ID: ", "Loaded image(s): ", "Loaded images: "} {
			if list, ok := strings.CutPrefix(strings.TrimSpace(line), prefix); ok {
				names = addNames(names, strings.SplitSeq(list, ","))
			}
		}
	}
	return names
}

// addNames appends what is a name, up to maxNames.
func addNames(names []string, more iter.Seq[string]) []string {
	for name := range more {
		if len(names) == maxNames {
			break
		}
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}
