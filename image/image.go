// Package image assembles images: an ordered list of layers with the config
// that describes them.
//
// Guarantees:
//
//   - The config is a pure function of the layers' digests and the fields of
//     Image: no clock, host or user is in it. Its bytes are written as nixpkgs
//     writes them (keys in a fixed order, four spaces, ASCII).
//   - History has one entry for each layer, so that the two always match.
//   - Layers are read when they are needed: digests are computed ahead, some
//     layers at a time, and nothing is held in memory or on disk meanwhile.
//
// Non-goals: where images go. The packages that write them import this one.
package image

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/layer"
)

// Layer is a layer's uncompressed tar, which can be written any number of
// times. Its methods may be called by several goroutines.
type Layer interface {
	// Title tells people what is in the layer.
	Title() string
	// Info returns the tar's digest and size. It may have to read the whole
	// layer the first time; later calls return at once.
	Info(ctx context.Context) (layer.Info, error)
	// Write writes the tar to w. It fails, naming the entry where it can, if
	// what it wrote is not what Info says.
	Write(ctx context.Context, w io.Writer) error
}

// Image is what an image is made of.
type Image struct {
	// Layers are the layers, the lowest first, those of Base included. History
	// is what the config says of those that Base does not have.
	Layers  []Layer
	History []History
	// Base is the image that this one builds on, or nil. Its history, and its
	// config's fields that have no place below, are kept as they are.
	Base *Existing
	// Created is the config's time, in RFC 3339's form.
	Created string
	// Architecture and OS have the values of Go's GOARCH and GOOS. Variant is a
	// kind of the architecture, such as v7, or empty.
	Architecture, OS, Variant string
	// Config is how a container runs: the config's field of the same name.
	Config *ordjson.Object
	// Repository is the image's name without a tag.
	Repository string
	// Tag is the image's tag; empty is one made of the image id.
	Tag string
	// MoreNames are further names that the image has, each NAME:TAG.
	MoreNames []string
	// RefNames are names that are no NAME:TAG, such as a tag alone: only layouts have
	// a place for them. The only one is in the place of the tag of the only NAME:TAG.
	RefNames []string
	// Annotations are the manifest's, where it can have any.
	Annotations map[string]string
	// ModTime is the time of an archive's members, in seconds since 1970.
	ModTime int64
	// RawConfig is the config of an image that is passed on as it is, in the
	// place of one that is made of the fields above; RawManifest and
	// ManifestDescriptor are its manifest, where it has one.
	RawConfig          []byte
	RawManifest        []byte
	ManifestDescriptor v1.Descriptor
}

// History is an entry of the config's history (OCI image-spec, config.md).
type History struct {
	Created   string
	CreatedBy string
	Comment   string
}

// Event tells that a layer is about to be written, or was.
type Event struct {
	// Layer counts from 1 to Layers.
	Layer, Layers int
	Title         string
	// Size is the layer's, uncompressed, in bytes.
	Size int64
	Done bool
}

// ConfigJSON returns the image's config: OCI image-spec's, with the fields and
// the layout that nixpkgs gives it. It needs every layer's digest.
func (img *Image) ConfigJSON(ctx context.Context) ([]byte, error) {
	if img.RawConfig != nil {
		return img.RawConfig, nil
	}
	diffIDs, err := img.diffIDs(ctx)
	if err != nil {
		return nil, err
	}
	config := img.Config
	if config == nil {
		config = &ordjson.Object{}
	}
	o := &ordjson.Object{Members: []ordjson.Member{
		{Key: "created", Value: img.Created},
		{Key: "architecture", Value: img.Architecture},
		{Key: "os", Value: img.OS},
	}}
	if img.Variant != "" {
		o.Set("variant", img.Variant)
	}
	o.Set("config", config)
	o.Set("rootfs", &ordjson.Object{Members: []ordjson.Member{
		{Key: "diff_ids", Value: diffIDs},
		{Key: "type", Value: "layers"},
	}})
	o.Set("history", img.history())
	if img.Base != nil {
		for _, m := range img.Base.Config.Members {
			if _, ok := o.Get(m.Key); !ok {
				o.Members = append(o.Members, m)
			}
		}
	}
	return ordjson.Marshal(o)
}

// diffIDs are the digests of the layers' tars. Those of the base are in its
// config: no layer has to be read for them.
func (img *Image) diffIDs(ctx context.Context) ([]any, error) {
	ids := make([]any, 0, len(img.Layers))
	if img.Base != nil {
		for _, id := range img.Base.DiffIDs {
			ids = append(ids, id.String())
		}
	}
	for _, l := range img.Layers[len(ids):] {
		info, err := l.Info(ctx)
		if err != nil {
			return nil, err
		}
		ids = append(ids, info.DiffID.String())
	}
	return ids, nil
}

// history is the base's history as it is, and an entry for each other layer. A
// base whose history does not fit its layers gets one that does.
func (img *Image) history() []any {
	all := []any{}
	if img.Base != nil {
		all = append(all, img.Base.history()...)
	}
	for _, h := range img.History {
		all = append(all, h.object())
	}
	return all
}

func (h History) object() *ordjson.Object {
	o := &ordjson.Object{}
	for _, m := range []struct{ key, value string }{
		{"created", h.Created}, {"created_by", h.CreatedBy}, {"comment", h.Comment},
	} {
		if m.value != "" {
			o.Set(m.key, m.value)
		}
	}
	return o
}

// ID returns the image id, which is the digest of its config.
func (img *Image) ID(ctx context.Context) (digest.Digest, error) {
	config, err := img.ConfigJSON(ctx)
	return digest.FromBytes(config), err
}

// tagEncoding is base32 in Nix's alphabet.
var tagEncoding = base32.NewEncoding("0123456789abcdfghijklmnpqrsvwxyz").WithPadding(base32.NoPadding)

// RepoTag returns the image's full name, REPOSITORY:TAG. Without a tag of its
// own the tag is 32 characters that stand for the image id.
func (img *Image) RepoTag(ctx context.Context) (string, error) {
	tag := img.Tag
	if tag == "" {
		config, err := img.ConfigJSON(ctx)
		if err != nil {
			return "", err
		}
		id := sha256.Sum256(config)
		tag = tagEncoding.EncodeToString(id[:20])
	}
	return img.Repository + ":" + tag, nil
}

// Reference returns the image's full name as engines spell it out, with the
// registry that short names stand for.
func (img *Image) Reference(ctx context.Context) (reference.NamedTagged, error) {
	repoTag, err := img.RepoTag(ctx)
	if err != nil {
		return nil, err
	}
	return parseRepoTag(repoTag)
}

// References are all names of the image, as Reference has one.
func (img *Image) References(ctx context.Context) ([]reference.NamedTagged, error) {
	names, err := img.RepoTags(ctx)
	if err != nil {
		return nil, err
	}
	return parseRepoTags(names)
}

func parseRepoTags(names []string) ([]reference.NamedTagged, error) {
	var refs []reference.NamedTagged
	for _, name := range names {
		ref, err := parseRepoTag(name)
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

func parseRepoTag(repoTag string) (reference.NamedTagged, error) {
	named, err := reference.ParseNormalizedNamed(repoTag)
	if err != nil {
		return nil, fmt.Errorf("image name %q: %w", repoTag, err)
	}
	tagged, ok := named.(reference.NamedTagged)
	if !ok {
		return nil, fmt.Errorf("image name %q: it has no tag", repoTag)
	}
	return tagged, nil
}

// Platform is what the image is for, as Go names it: what the index that it comes from
// says, or its config.
func (img *Image) Platform() v1.Platform {
	if p := img.ManifestDescriptor.Platform; p != nil {
		return ocijson.Normal(*p)
	}
	return ocijson.Normal(v1.Platform{OS: img.OS, Architecture: img.Architecture, Variant: img.Variant})
}

// RepoTags returns all of the image's names. One that is passed on may have
// none.
func (img *Image) RepoTags(ctx context.Context) ([]string, error) {
	if img.Repository == "" {
		return img.MoreNames, nil
	}
	name, err := img.RepoTag(ctx)
	return append([]string{name}, img.MoreNames...), err
}

// Each calls visit for each layer in order, as soon as its digest is known.
// The digests of the layers behind it are computed meanwhile: as many at once
// as there are processors, and only so far ahead that what was read is still
// in the page cache when visit reads it again.
func (img *Image) Each(ctx context.Context, visit func(ctx context.Context, i int, info layer.Info) error) error {
	workers := runtime.GOMAXPROCS(0)
	ahead := make(chan struct{}, 2*workers)
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error {
		hashing, ctx := errgroup.WithContext(ctx)
		hashing.SetLimit(workers)
		for _, l := range img.Layers {
			select {
			case ahead <- struct{}{}:
			case <-ctx.Done():
				return hashing.Wait()
			}
			hashing.Go(func() error {
				_, err := l.Info(ctx)
				return err
			})
		}
		return hashing.Wait()
	})
	tasks.Go(func() error {
		for i, l := range img.Layers {
			info, err := l.Info(ctx)
			if err == nil {
				err = visit(ctx, i, info)
			}
			if err != nil {
				return err
			}
			select {
			case <-ahead:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	return tasks.Wait()
}

// SplitRepoTag takes NAME:TAG apart. NAME may hold a registry and its port. It
// is one that engines take: in lower case, of the grammar of references.
func SplitRepoTag(ref string) (name, tag string, err error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", "", fmt.Errorf("image name %q: %w", ref, err)
	}
	tagged, ok := named.(reference.Tagged)
	if _, digested := named.(reference.Digested); !ok || digested {
		return "", "", fmt.Errorf("image name %q is not NAME:TAG", ref)
	}
	return strings.TrimSuffix(ref, ":"+tagged.Tag()), tagged.Tag(), nil
}
