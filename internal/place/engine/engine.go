// Package engine loads images into container engines, and saves them from there: Docker, Podman,
// containerd, and the storage that Podman, Buildah and CRI-O share.
//
// Guarantees:
//
//   - An image goes to an engine, and comes from it, as a stream: a
//     docker-archive, which this package neither makes nor reads.
//   - What an engine has is not sent again: an image is identified by its id, which is the
//     digest of its config.
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
// /images/load, /images/NAME/get, /images/NAME/json), at a socket, over TCP with or without TLS,
// or through ssh, which runs the engine's own client on the other machine. Docker's contexts are
// read as docker reads them. containerd is reached through its own ctr, and Podman's storage and
// connections through podman, or the storage through skopeo, because there is no service to talk
// to.
//
// Non-goals: containers; removing images; reading the environment, which the caller
// does.
package engine

import (
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
	// ID returns the id of the image that the engine calls name: "" if the engine has the image
	// but does not say, ErrNotFound if it does not have it.
	ID(ctx context.Context, name string) (digest.Digest, error)
	// Load makes the engine read the archive that write writes, of an image with names, which
	// may be empty. It returns the names, or ids, that the engine says it loaded.
	Load(ctx context.Context, names []string, write WriteFunc) ([]string, error)
	// Save returns an image as an archive; ErrNotFound if there is none. If the engine fails,
	// there is an error instead of io.EOF. Close ends it at any time.
	Save(ctx context.Context, name string) (io.ReadCloser, error)
}

// WriteFunc writes a docker-archive of an image to w, as dockerarchive.Write does, uncompressed:
// not every engine reads others. It has to end soon after ctx is done.
type WriteFunc func(ctx context.Context, w io.Writer) error

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
	// Present says that the engine had the image under all its names already, and nothing was
	// sent.
	Present bool
}

// Load loads the image into the engine: write writes it, with its own names. It is an error if
// the engine then has another image under one of them.
func Load(ctx context.Context, e Engine, img image.Named, write WriteFunc) (Loaded, error) {
	loaded, err := load(ctx, e, img, write)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return Loaded{}, fmt.Errorf("load image %q into %s: %w", strings.Join(loaded.Names, ", "), e, err)
	}
	return loaded, nil
}

func load(ctx context.Context, e Engine, img image.Named, write WriteFunc) (l Loaded, err error) {
	names, err := img.Tagged(ctx)
	if err != nil {
		return l, err
	}
	l.Names = names.RepoTags
	for _, name := range l.Names {
		if err := checkName(name); err != nil {
			return l, err
		}
	}
	if l.ID, err = image.ID(ctx, img); err != nil {
		return l, err
	}
	if l.Present, err = present(ctx, e, l); err != nil || l.Present {
		return l, err
	}
	said, err := e.Load(ctx, l.Names, write)
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
		switch has, err := e.ID(ctx, name); {
		case errors.Is(err, ErrNotFound):
			return l, fmt.Errorf("%q: it loaded %s, and has no image of the name now", name, shown(strings.Join(said, ", ")))
		case err != nil:
			return l, err
		case has != "" && has != l.ID:
			return l, fmt.Errorf("%q: it loaded %s, and has image %s by the name now, not %s", name, shown(strings.Join(said, ", ")), has, l.ID)
		}
	}
	return l, nil
}

// present reports whether the engine has the image under all its names, or, if it has none,
// under its id.
func present(ctx context.Context, e Engine, l Loaded) (bool, error) {
	names := l.Names
	if len(names) == 0 {
		names = []string{l.ID.String()}
	}
	for _, name := range names {
		has, err := e.ID(ctx, name)
		if errors.Is(err, ErrNotFound) || err == nil && has != l.ID {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// Open returns an engine's image as a docker-archive, for dockerarchive.Read. name is NAME:TAG,
// NAME@DIGEST or an id.
func Open(ctx context.Context, e Engine, name string) (io.ReadCloser, error) {
	err := checkName(name)
	if err == nil {
		// Engines have their own words for a missing image, and some say it only after the
		// archive has begun.
		_, err = e.ID(ctx, name)
	}
	var r io.ReadCloser
	if err == nil {
		r, err = e.Save(ctx, name)
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
