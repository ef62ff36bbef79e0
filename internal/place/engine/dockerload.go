package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
)

// manner is how an engine that answers Docker's API takes images.
type manner int

const (
	unknown manner = iota
	// ownStore is Docker's own store of layers, where one is known by itself and those below it.
	ownStore
	// contentStore is containerd's store, where a blob is known by its digest.
	contentStore
	// podmanStore is Podman's, where a layer is known by its diffID.
	podmanStore
)

// snapshotter is the driver type that Docker with containerd's store has.
const snapshotter = "io.containerd.snapshotter.v1"

// Load sends the image without the layers that the engine has.
func (a *api) Load(ctx context.Context, img *Image) ([]string, error) {
	how, err := a.mannerOf(ctx)
	if err != nil {
		return nil, err
	}
	if how == contentStore {
		return a.loadContent(ctx, img)
	}
	if img.Index {
		return nil, errIndex
	}
	form := Form{Kind: Hybrid}
	has := func(int) bool { return false }
	if how != unknown && img.all() > minSpared {
		chains := a.askLayers(ctx, img, func(chains [][]digest.Digest) bool { return img.all()-img.bytes(a.has(img, chains)) <= minSpared })
		has = a.has(img, chains)
	}
	if how == ownStore {
		form.Kind = DockerArchive // whose layers need no sizes: those that are left out are not read
	}
	return img.sparingly(ctx, form, has, func(ctx context.Context, form Form) ([]string, error) {
		return a.send(ctx, img.write(form))
	})
}

// has returns which layers the engine has, of the images with chains of layers.
func (a *api) has(img *Image, chains [][]digest.Digest) func(n int) bool {
	if how, _ := a.manner.get(); how == ownStore {
		return img.above(chains)
	}
	layers := map[digest.Digest]bool{}
	for _, chain := range chains {
		for _, d := range chain {
			layers[d] = true
		}
	}
	return img.among(layers)
}

// among returns which layers are among those.
func (i *Image) among(layers map[digest.Digest]bool) func(n int) bool {
	return func(n int) bool { return layers[i.layers[n].diffID] }
}

// above returns which layers are in one of the chains with all layers below them.
func (i *Image) above(chains [][]digest.Digest) func(n int) bool {
	longest := 0
	for _, chain := range chains {
		n := 0
		for n < len(chain) && n < len(i.layers) && chain[n] == i.layers[n].diffID {
			n++
		}
		longest = max(longest, n)
	}
	return func(n int) bool { return n < longest }
}

// mannerOf returns how the engine takes images. It asks until the engine has answered.
func (a *api) mannerOf(ctx context.Context) (manner, error) {
	if how, known := a.manner.get(); known {
		return how, nil
	}
	how, err := a.askManner(ctx)
	if err == nil && how != unknown {
		a.manner.set(how)
	}
	return how, err
}

// askManner asks how the engine takes images (API: SystemInfo). An engine that may not be asked
// that takes them whole.
func (a *api) askManner(ctx context.Context) (manner, error) {
	data, header, err := a.answer(ctx, a.client, http.MethodGet, "/info")
	if ctx.Err() != nil {
		return unknown, context.Cause(ctx)
	}
	if err != nil {
		return unknown, nil
	}
	var info struct {
		Driver       string
		DriverStatus [][]string
	}
	switch err := json.Unmarshal(data, &info); {
	case header.Get("Libpod-Api-Version") != "":
		return podmanStore, nil
	case err != nil || info.Driver == "":
		return unknown, nil
	case slices.ContainsFunc(info.DriverStatus, func(pair []string) bool { return slices.Contains(pair, snapshotter) }):
		return contentStore, nil
	}
	return ownStore, nil
}

const (
	// maxAsked limits how many images an engine is asked for, and askTime for how long: what it
	// says in the meantime counts.
	maxAsked = 256
	askTime  = 10 * time.Second
)

// askLayers returns the diffIDs of the layers of the engine's images, for each image, until enough
// are known. Images that may be older versions come first (API: ImageList, ImageInspect).
func (a *api) askLayers(ctx context.Context, img *Image, enough func([][]digest.Digest) bool) (chains [][]digest.Digest) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	client := a.host.client(true)
	defer client.CloseIdleConnections()
	ids, err := a.askImages(ctx, client, img)
	if err != nil {
		return nil
	}
	for _, id := range ids {
		data, _, err := a.answer(ctx, client, http.MethodGet, "/images/"+id.String()+"/json")
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			continue // it may be gone by now
		}
		if chains = append(chains, chainOf(data)); enough(chains) {
			break
		}
	}
	return chains
}

// maxChain limits how many layers of an image count: engines have no images with as many.
const maxChain = 1000

// chainOf returns the diffIDs that an engine says an image has, up to what is none: an answer is
// large, and many are kept.
func chainOf(inspect []byte) []digest.Digest {
	var said struct {
		RootFS struct{ Layers []digest.Digest }
	}
	if json.Unmarshal(inspect, &said) != nil {
		return nil
	}
	var chain []digest.Digest
	for _, d := range said.RootFS.Layers[:min(len(said.RootFS.Layers), maxChain)] {
		if d.Validate() != nil {
			break
		}
		chain = append(chain, digest.Digest(strings.Clone(string(d))))
	}
	return chain
}

// askImages returns the ids of the engine's images, those of the image's repositories first.
func (a *api) askImages(ctx context.Context, client *http.Client, img *Image) ([]digest.Digest, error) {
	data, _, err := a.answer(ctx, client, http.MethodGet, "/images/json")
	if err != nil {
		return nil, err
	}
	var list []struct {
		ID       digest.Digest `json:"Id"`
		RepoTags []string
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("read what it says of its images: %w", err)
	}
	own := map[string]bool{}
	for _, name := range img.Names {
		own[repositoryOf(name)] = true
	}
	var first, rest []digest.Digest
	for _, l := range list {
		switch {
		case l.ID.Validate() != nil:
		case slices.ContainsFunc(l.RepoTags, func(name string) bool { return own[repositoryOf(name)] }):
			first = append(first, l.ID)
		default:
			rest = append(rest, l.ID)
		}
	}
	ids := append(first, rest...)
	return ids[:min(len(ids), maxAsked)], nil
}

// repositoryOf returns a name without its tag, in full.
func repositoryOf(name string) string {
	repo := image.Names{RepoTags: []string{name}}.Repository()
	if full, err := fullName(repo); err == nil {
		return strings.TrimSuffix(full, ":latest")
	}
	return repo
}
