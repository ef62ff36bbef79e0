package dockertools

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/varve-image/varve/internal/regfile"
)

// attributes are the attributes of a derivation whose builder is varve; nix/derivations.nix
// sets them.
type attributes struct {
	// Outputs are the paths that the derivation makes, by their names.
	Outputs map[string]string
	// Action is one of actions. Each has its own attributes.
	Action string

	// files
	Files map[string]outputFile
	// image, stream, layer, top
	Spec string
	Tag  string
	// top: a file with what buildImage's layer is to say about the image.
	BaseJSON string
	// stream, program: the path of this program in the store.
	Varve string
	// archive, layout, export: an image; merge: images; tree: directories and
	// tarballs.
	Image           string
	Images, Sources []string
	// export, overlay: the image in the archive; empty for the first.
	FromImageName, FromImageTag string
	// archive, merge
	Compressor string
	// export, overlay: the time of all files, in seconds since 1970.
	MTime int64
	// overlay: scripts, and what runs them
	PreMount, PostMount, PostUmount, Shell, Path string
	// pull
	RepoTag, Reference, Platform, CAFile string
	Insecure                             bool

	// file is the file that the attributes were read from.
	file string
}

// outputFile is a file that is made of a text, a symlink, or a directory.
type outputFile struct {
	Text, Link            string
	Executable, Directory bool
}

// actions build derivations. Each has its own attributes.
var actions = map[string]func(*Tools, context.Context, *attributes) error{
	"files":   (*Tools).writeFiles,
	"image":   (*Tools).buildImage,
	"stream":  (*Tools).buildStream,
	"layer":   (*Tools).buildLayer,
	"top":     (*Tools).buildTopLayer,
	"archive": (*Tools).buildArchive,
	"layout":  (*Tools).buildLayout,
	"merge":   (*Tools).mergeImages,
	"export":  (*Tools).exportImage,
	"pull":    (*Tools).pullImage,
	"tree":    (*Tools).mergeTrees,
	"overlay": (*Tools).runWithOverlay,
}

// BuildDerivation makes the outputs of a derivation from the file with its attributes. Nix
// leaves this file for one with __structuredAttrs, with the graphs that exportReferencesGraph
// asks for.
func (t *Tools) BuildDerivation(ctx context.Context, file string) error {
	a, err := readAttributes(file)
	if err != nil {
		return err
	}
	act, ok := actions[a.Action]
	if !ok {
		return inputErrorf("action %q: expected one of %q", a.Action, slices.Sorted(maps.Keys(actions)))
	}
	return asAttribute(a, act(t, ctx, a))
}

// maxAttributes limits a derivation's attributes, in bytes; a closure in them has
// the same limit.
const maxAttributes = 64 << 20

func readAttributes(file string) (*attributes, error) {
	data, err := regfile.Read(file, maxAttributes)
	if err != nil {
		return nil, fileError(fmt.Errorf("read the derivation's attributes: %q: %w", file, regfile.Cause(err)))
	}
	a := &attributes{file: file}
	if err := json.Unmarshal(data, a); err != nil {
		return nil, inputErrorf("read the derivation's attributes %q: %w", file, err)
	}
	if a.out() == "" {
		return nil, inputErrorf("the derivation's attributes %q name no output", file)
	}
	return a, nil
}

// out returns the path of the derivation's output, or of the first of them.
func (a *attributes) out() string { return a.Outputs["out"] }

// writeFiles makes an output of files whose names are paths below it; an empty name
// is the output itself.
func (t *Tools) writeFiles(_ context.Context, a *attributes) error {
	for _, name := range slices.Sorted(maps.Keys(a.Files)) {
		if name != "" && !filepath.IsLocal(name) {
			return inputErrorf("file %q is not below the output", name)
		}
		if err := writeFile(filepath.Join(a.out(), name), a.Files[name]); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(name string, f outputFile) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	switch {
	case f.Link != "":
		return os.Symlink(f.Link, name)
	case f.Directory:
		return os.MkdirAll(name, 0o755)
	}
	mode := os.FileMode(0o644)
	if f.Executable {
		mode = 0o755
	}
	return os.WriteFile(name, []byte(f.Text), mode)
}
