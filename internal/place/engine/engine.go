// Package engine takes images to container engines, and gets them from there:
// Docker, Podman, containerd, and the storage that Podman, Buildah and CRI-O
// share.
//
// Guarantees:
//
//   - An image goes to an engine, and comes from it, as a stream: a
//     docker-archive, which this package neither makes nor reads.
//   - What an engine has is not sent again: an image is known by its id, which
//     is the digest of its config.
//   - An engine is not believed: what it says is bounded, messages quote it,
//     and after a load it is asked for the image once more.
//   - A question has an answer in five minutes or fails. A load or a save ends if
//     nothing is seen of it for half an hour, or next to nothing (4 KiB a second);
//     an engine that has a whole archive has a second more for each MiB of it.
//   - A context that is done ends every call within a second. A load that
//     fails ends before the archive does, so that no engine takes it for a
//     whole one. Neither processes nor connections are left.
//   - An engine that cannot be reached is a *MissingError that says what to do.
//
// Docker and Podman's service are spoken to over HTTP (Docker Engine API 1.24 and
// later: /images/load, /images/NAME/get, /images/NAME/json), at a socket, in TCP with
// or without TLS, or through ssh, which runs the engine's own client on the other
// machine. Docker's contexts are read as docker reads them. containerd is reached by
// its own ctr, and Podman's storage and connections by podman, or the storage by
// skopeo, because there is nothing to speak to.
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

// Engine is a container engine's store of images. A name in it is as the
// engine's own commands take it, NAME:TAG mostly.
type Engine interface {
	// String names the engine and where it is.
	String() string
	// ID returns the id of the image that the engine calls name; empty if the
	// engine has the image but does not tell, ErrNotFound if it has none.
	ID(ctx context.Context, name string) (digest.Digest, error)
	// Load has the engine read the archive that write writes, of an image with
	// these names, which may be none. It returns the names, or ids, that the engine
	// says it loaded.
	Load(ctx context.Context, names []string, write WriteFunc) ([]string, error)
	// Save returns an image as an archive; ErrNotFound if there is none.
	// In the place of io.EOF there is an error if the engine failed. Close ends
	// it at any time.
	Save(ctx context.Context, name string) (io.ReadCloser, error)
}

// WriteFunc writes a docker-archive of an image to w, such as
// dockerarchive.Write does, uncompressed: not every engine reads others. It
// has to end soon after ctx is done.
type WriteFunc func(ctx context.Context, w io.Writer) error

// ErrNotFound is the error for an image that an engine does not have.
var ErrNotFound = errors.New("the engine has no such image")

// MissingError says that an engine, or the program to reach it with, is not
// there or does not let this user in.
type MissingError struct {
	Err error
	// Hint says what to do.
	Hint string
}

func (e *MissingError) Error() string { return e.Err.Error() }

func (e *MissingError) Unwrap() error { return e.Err }

// Loaded says what became of an image.
type Loaded struct {
	// ID is the image's id, and Names what it is called: its own names or, where it
	// has none, what the engine calls it.
	ID    digest.Digest
	Names []string
	// Present says that the engine had the image by all its names already, and
	// nothing was sent.
	Present bool
}

// Load brings the image to the engine: write writes it, with its own names. If
// the engine then has another image of one of them, that is an error.
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

// present tells whether the engine has the image by all its names, or where it has
// none by its id.
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

// Open returns an image of an engine as an archive: a docker-archive for
// dockerarchive.Read. name is NAME:TAG, NAME@DIGEST or an id.
func Open(ctx context.Context, e Engine, name string) (io.ReadCloser, error) {
	err := checkName(name)
	if err == nil {
		// Engines say that an image is not there in words of their own, some
		// of them only when the archive has begun.
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

// maxName bounds a name, in bytes.
const maxName = 512

// checkName refuses what is no image's name, before it becomes part of a URL
// or an argument of a command.
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

// fullName is a name with its registry and a tag.
func fullName(name string) (string, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return "", err
	}
	return reference.TagNameOnly(named).String(), nil
}

// notThere is the error of an image that an engine does not have.
func notThere(name string) error {
	return fmt.Errorf("%q: %w", name, ErrNotFound)
}

// maxText bounds what of an engine's words, which may be a whole page, is
// held and shown, in bytes.
const (
	maxText  = 64 << 10
	maxShown = 1000
)

// shown is an engine's words as a message has them: their end, where
// programs say why they stopped.
func shown(text string) string {
	text = strings.TrimSpace(text)
	if len(text) > maxShown {
		text = "…" + text[len(text)-maxShown:]
	}
	return fmt.Sprintf("%q", text)
}

// maxNames is how many names of loaded images are held: they are for messages.
const maxNames = 10

// loadedNames are the first names in the lines by which Docker and Podman say what
// they have loaded.
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

// addNames appends what is a name, as long as there are few.
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
