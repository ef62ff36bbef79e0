package place

import (
	"fmt"
	"slices"
	"strings"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place/registry"
)

// Transport is the kind of a place, with skopeo's and podman's names.
type Transport string

// The transports. Unknown is the transport of a bare path; what is at the path decides.
const (
	Unknown Transport = ""
	// Archive is a docker-archive and an OCI layout in one, which every engine takes.
	Archive           Transport = "archive"
	DockerArchive     Transport = "docker-archive"
	OCIDir            Transport = "oci"
	OCIArchive        Transport = "oci-archive"
	ImageDir          Transport = "dir"
	Registry          Transport = "docker"
	DockerDaemon      Transport = "docker-daemon"
	ContainersStorage Transport = "containers-storage"
	Containerd        Transport = "containerd"
	// LayerDir is a directory with one layer, which is not an image: only builds write it.
	LayerDir Transport = "layer"
)

// shape is the form of what follows a transport.
type shape int

const (
	pathAndName shape = iota // PATH[:NAME]
	nameAlone                // NAME
	host                     // //HOST/NAME
)

// transports holds everything that is known of the kinds of places without opening one.
var transports = map[Transport]struct {
	shape shape
	// ownName says that images there are named NAME:TAG, and nothing else.
	ownName bool
	// manifest says that it keeps an image's manifest, with its annotations.
	manifest bool
	// index says that it can hold an image for several platforms.
	index bool
	// article is the kind with its article, for messages.
	article string
}{
	Unknown:       {},
	Archive:       {ownName: true, manifest: true, index: true, article: "an archive"},
	DockerArchive: {ownName: true, article: "a docker-archive"},
	OCIDir:        {manifest: true, index: true, article: "an OCI layout"},
	OCIArchive:    {manifest: true, index: true, article: "the archive of an OCI layout"},
	ImageDir:      {manifest: true, index: true, article: "an image directory"},
	Registry:      {shape: host, manifest: true, index: true, article: "a registry"},
	// A Docker that keeps images for one platform each says so when it gets an index.
	DockerDaemon:      {shape: nameAlone, ownName: true, index: true, article: "an engine"},
	ContainersStorage: {shape: nameAlone, ownName: true, article: "an engine"},
	Containerd:        {shape: nameAlone, ownName: true, index: true, article: "an engine"},
	LayerDir:          {article: "a layer"},
}

// Names returns the transports as they are written, for completion.
func Names() []string {
	var all []string
	for t, kind := range transports {
		text := string(t) + ":"
		if kind.shape == host {
			text += "//"
		}
		if t != Unknown {
			all = append(all, text)
		}
	}
	slices.Sort(all)
	return all
}

// IsEngine reports whether the place is a container engine.
func (t Transport) IsEngine() bool { return transports[t].shape == nameAlone }

// TakesIndex reports whether the place can hold an image for several platforms.
func (t Transport) TakesIndex() bool { return transports[t].index }

// HasRepoTags reports whether images there are named NAME:TAG, and nothing else.
func (t Transport) HasRepoTags() bool { return transports[t].ownName }

// HasManifests reports whether the place keeps manifests, and thus annotations.
func (t Transport) HasManifests() bool { return transports[t].manifest }

// Kind returns the kind of place for messages.
func (t Transport) Kind() string { return transports[t].article }

// Ref is a reference to a place, and to an image there.
type Ref struct {
	Transport Transport
	// Path is a file or a directory; "-" is standard input or output. Engines and registries
	// have none.
	Path string
	// Name is the image's name there: NAME:TAG, another name in a layout, @NUMBER or @DIGEST; in
	// a registry HOST/NAME with a tag or digest. It may be empty.
	Name string
}

// RefError says what is wrong with a reference as it is written.
type RefError struct {
	Err error
	// Hints say what to write instead.
	Hints []string
}

func (e *RefError) Error() string { return e.Err.Error() }

func (e *RefError) Unwrap() error { return e.Err }

func refError(format string, args ...any) *RefError {
	return &RefError{Err: fmt.Errorf(format, args...)}
}

// ParseSource reads a reference to existing images.
func ParseSource(text string) (Ref, error) {
	r, found := cut(text)
	switch {
	case !found:
		return Ref{Path: text}, nil
	case r.Transport == LayerDir:
		return Ref{}, refError("image %q: a layer by itself is not an image; name it in a spec's layers", text)
	case r.Path == "" && r.Name == "" && transports[r.Transport].shape != pathAndName:
		return Ref{}, refError("image %q: the name is missing", text)
	case r.Transport == Registry:
		if err := registry.CheckReference(r.Name); err != nil {
			return Ref{}, &RefError{Err: err}
		}
	case r.Path == "" && !r.Transport.IsEngine():
		return Ref{}, refError("image %q: the path is missing", text)
	}
	return r, nil
}

// ParseTarget reads a reference to where images are to be written.
func ParseTarget(text string) (Ref, error) {
	r, found := cut(text)
	switch {
	case !found && strings.HasSuffix(text, "/"):
		r = Ref{OCIDir, text, ""}
	case !found && text == "-":
		r = Ref{Archive, text, ""}
	case !found:
		algorithm, ok := compress.TarName(text)
		if !ok {
			err := refError("destination %q: its name does not say what it is to be", text)
			err.Hints = append(Hints(text), "end it in .tar for an archive that every engine takes, in .tar.gz or .tar.zst for a docker-archive, in / for an OCI layout, or put archive:, docker-archive:, oci:, oci-archive:, dir:, docker:// or an engine's transport before it")
			return Ref{}, err
		}
		if r = (Ref{Archive, text, ""}); algorithm != compress.None {
			r.Transport = DockerArchive
		}
	}
	return r, r.checkTarget(text)
}

// checkTarget refuses references that cannot be written to. text is the reference as it is
// written.
func (r Ref) checkTarget(text string) error {
	kind := transports[r.Transport]
	switch {
	case r.Transport == Registry && strings.Contains(r.Name, "@"):
		return refError("destination %q: an image is written by tag, its digest is what it comes to", text)
	case r.Transport == Registry:
		if err := registry.CheckReference(r.Name); err != nil {
			return refError("destination %q: %w", text, err)
		}
		return nil
	case kind.shape == pathAndName && r.Transport != LayerDir && strings.HasPrefix(r.Name, "@"):
		return refError("destination %q: an image is written by name, its number and its digest are what they come to", text)
	case kind.shape == pathAndName && r.Path == "":
		return refError("destination %q: the path is missing", text)
	}
	if err := r.checkEnding(text); err != nil {
		return err
	}
	if kind.ownName && r.Name != "" {
		if _, _, err := image.SplitRepoTag(r.Name); err != nil {
			return refError("destination %q: %w", text, err)
		}
	}
	return nil
}

// checkEnding refuses an archive whose name claims a compression that it would not have.
func (r Ref) checkEnding(text string) error {
	algorithm, ok := compress.TarName(r.Path)
	if !ok {
		return nil
	}
	switch {
	case r.Transport == DockerArchive && !algorithm.Writable():
		return &RefError{fmt.Errorf("destination %q: varve does not compress archives with %s", text, algorithm), []string{"end it in .tar, .tar.gz or .tar.zst"}}
	case r.Transport == Archive && algorithm != compress.None:
		return &RefError{fmt.Errorf("destination %q: an archive with an OCI layout is not compressed", text), []string{"end it in .tar, or write docker-archive:" + r.Path}}
	case r.Transport == OCIArchive && algorithm != compress.None:
		return &RefError{fmt.Errorf("destination %q: the archive of an OCI layout is not compressed, its layers are", text), []string{"end it in .tar"}}
	}
	return nil
}

// cut splits a reference at its transport, and reports whether it has one.
func cut(text string) (Ref, bool) {
	name, rest, found := strings.Cut(text, ":")
	t := Transport(name)
	kind, known := transports[t]
	if !found || !known || t == Unknown {
		return Ref{Path: text}, false
	}
	switch kind.shape {
	case host:
		rest, found = strings.CutPrefix(rest, "//")
		if !found {
			return Ref{Path: text}, false
		}
		return Ref{Transport: t, Name: rest}, true
	case nameAlone:
		return Ref{Transport: t, Name: rest}, true
	}
	path, image := cutName(rest)
	return Ref{t, path, image}, true
}

// cutName splits PATH[:NAME] or PATH@DIGEST.
func cutName(text string) (path, name string) {
	path, name, _ = strings.Cut(text, ":")
	if at := strings.LastIndexByte(path, '@'); at >= 0 {
		if _, err := ocijson.ParseDigest(text[at+1:]); err == nil {
			return text[:at], text[at:]
		}
	}
	return path, name
}

// String names the place for messages.
func (r Ref) String() string {
	switch transports[r.Transport].shape {
	case host:
		return string(r.Transport) + "://" + r.Name
	case nameAlone:
		return string(r.Transport)
	}
	return r.Path
}

// Archived returns how a docker-archive at the reference is compressed, by its name. ok is false
// if the name does not say, and for all other places. An Archive is never compressed.
func (r Ref) Archived() (algorithm compress.Algorithm, ok bool) {
	switch r.Transport {
	case Archive:
		return compress.None, true
	case DockerArchive:
		return ArchiveCompression(r.Path)
	}
	return "", false
}

// ArchiveCompression returns how an archive to be written is compressed, by its name.
func ArchiveCompression(name string) (algorithm compress.Algorithm, ok bool) {
	algorithm, ok = compress.TarName(name)
	return algorithm, ok && algorithm.Writable()
}

// IsNamed reports whether the reference names a single image.
func (r Ref) IsNamed() bool {
	if r.Transport == Registry {
		return image.Tag(r.Name) != ""
	}
	return r.Name != ""
}
