package assemble

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/spec"
)

// A layer can be built by itself, into a directory of its own, and be used by any
// number of images. These are the directory's files.
const (
	// LayerTar is the layer's tar.
	LayerTar = "layer.tar"
	// LayerChecksum has the SHA-256 of the tar in hexadecimal digits.
	LayerChecksum = "checksum"
	// LayerInfo is a BuiltLayer in JSON; nixpkgs' layers have none.
	LayerInfo = "layer.json"
)

// Limits for the files of a layer besides its tar, in bytes.
const (
	maxLayerInfo = 64 << 20
	maxChecksum  = 1 << 10
)

// BuiltLayer describes a layer that was built by itself.
type BuiltLayer struct {
	// Contents are the store paths whose files an image with this layer links
	// to.
	Contents []string `json:"contents"`
	// Paths are the store paths in the layer.
	Paths []string `json:"paths"`
	// Tree reports that the layer holds other files too.
	Tree bool `json:"tree"`
	// Lower lists the built layers below it, in their order: this layer leaves out
	// what they have, and an image with this one gets them too.
	Lower []LowerLayer `json:"layers,omitempty"`

	// dir is the layer's directory as the user wrote it, physical its real path.
	dir, physical string
	file          *layer.File
}

// LowerLayer is a layer that another one was built on.
type LowerLayer struct {
	// Dir is the layer's directory, relative to that of the layer above.
	Dir string `json:"dir"`
	// Checksum is the checksum of its tar at the time the layer above was built.
	Checksum string `json:"checksum"`
}

// Built describes the built layer that a spec makes, for the directory dir. The
// spec has one explicit layer of its own, preceded by built ones only. The layer is
// the last one below the top layer, which is of no use here.
func (r *Result) Built(dir string) (*BuiltLayer, error) {
	s := r.Spec
	last := len(s.Layers) - 1
	if last < 0 || s.Layers[last].Built != "" {
		return nil, &SpecError{"layers", errors.New("a layer by itself is made of one explicit layer: give it as the last of layers")}
	}
	for _, g := range s.Layers[:last] {
		if g.Built == "" {
			return nil, &SpecError{"layers", errors.New("of a layer by itself, those below it have to be built ones")}
		}
	}
	if len(s.Layers[last].Remove) > 0 {
		return nil, &SpecError{fmt.Sprintf("layers[%d].remove", last), errBuiltRemove}
	}
	if len(s.Contents)+len(s.CopyToRoot)+len(s.Presets) > 0 || s.FromImage != "" {
		return nil, &SpecError{"layers", errors.New("a layer by itself has no other contents, copyToRoot, presets or fromImage")}
	}
	n := len(r.Layers) - 2
	if n < 0 || r.Layers[n].Built != "" {
		return nil, &SpecError{"layers", errors.New("the layers below have all of it: nothing is left for this one")}
	}
	lower, err := r.lowerLayers(dir)
	return &BuiltLayer{Contents: r.contents, Paths: r.Layers[n].Paths, Tree: r.Layers[n].Kind == KindTree, Lower: lower}, err
}

// lowerLayers returns the built layers below one that is written to dir. Their
// paths are relative, so that they say nothing about this machine.
func (r *Result) lowerLayers(dir string) ([]LowerLayer, error) {
	if len(r.built) == 0 {
		return nil, nil
	}
	parent, err := realPath(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	var lower []LowerLayer
	for _, l := range r.built {
		rel, err := filepath.Rel(filepath.Join(parent, filepath.Base(dir)), l.physical)
		if err != nil {
			return nil, err
		}
		lower = append(lower, LowerLayer{Dir: filepath.ToSlash(rel), Checksum: l.file.DiffID.Encoded()})
	}
	return lower, nil
}

// realPath returns an absolute path without symlinks.
func realPath(name string) (string, error) {
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return "", quotePath(err)
	}
	return filepath.Abs(real)
}

// openBuilt opens the layer in the directory dir, whose real path is physical.
func openBuilt(storeDir, dir, physical string) (*BuiltLayer, error) {
	file, err := OpenLayerDir(physical)
	if err != nil {
		return nil, err
	}
	l := &BuiltLayer{dir: dir, file: file}
	if l.physical, err = realPath(physical); err != nil {
		return nil, err
	}
	name := path.Join(physical, LayerInfo)
	data, err := regfile.Read(name, maxLayerInfo)
	if err != nil {
		return nil, quotePath(err)
	}
	if err := json.Unmarshal(data, l); err != nil {
		return nil, fmt.Errorf("%q is not what varve writes for a layer: %w", name, err)
	}
	if len(l.Lower) > spec.MaxLayers {
		return nil, fmt.Errorf("%q names %d layers below it: images have at most %d", name, len(l.Lower), spec.MaxLayers)
	}
	for _, lower := range l.Lower {
		if err := digest.NewDigestFromEncoded(digest.SHA256, lower.Checksum).Validate(); err != nil {
			return nil, fmt.Errorf("%q is not what varve writes for a layer: checksum %q: %w", name, lower.Checksum, err)
		}
	}
	for _, p := range append(l.Paths, l.Contents...) {
		if _, _, ok := nixstore.InStore(storeDir, p); !ok {
			return nil, fmt.Errorf("%q names %q, which is not in the store %q", name, p, storeDir)
		}
	}
	return l, nil
}

// OpenLayerDir opens the tar in a layer's directory.
func OpenLayerDir(dir string) (*layer.File, error) {
	sum, err := regfile.Read(path.Join(dir, LayerChecksum), maxChecksum)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%q is not a layer's directory, which has a %s: %w", dir, LayerChecksum, fs.ErrNotExist)
	}
	if err != nil {
		return nil, quotePath(err)
	}
	id := digest.NewDigestFromEncoded(digest.SHA256, strings.TrimSpace(string(sum)))
	if err := id.Validate(); err != nil {
		return nil, fmt.Errorf("%q holds no SHA-256: %w", path.Join(dir, LayerChecksum), err)
	}
	return layer.OpenFile(path.Join(dir, LayerTar), id)
}
