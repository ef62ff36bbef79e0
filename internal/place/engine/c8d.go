package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image/ordjson"
)

// availability is the version of Docker's API that says which images are whole.
const availability = 48 // 1.48

// loadContent loads an image into Docker with containerd's store. A layer that is left out and not
// there after all would leave a broken image, to which an existing name moves; so the image is
// loaded without names, and gets them when it is known to be whole.
func (a *api) loadContent(ctx context.Context, img *Image) ([]string, error) {
	d, err := img.description(ctx)
	if err != nil {
		return nil, err
	}
	has, err := a.hasContent(ctx, img)
	if err != nil {
		return nil, err
	}
	_, err = a.Identify(ctx, d.Manifest.String())
	isNew := errors.Is(err, ErrNotFound)
	said, err := img.sparingly(ctx, Form{Kind: OCI, Nameless: true}, has, func(ctx context.Context, form Form) ([]string, error) {
		said, err := a.send(ctx, img.write(form))
		if err == nil {
			err = a.checkContent(ctx, img.manifest)
		}
		if err != nil && isNew {
			a.discard(ctx, d.Manifest)
		}
		return said, err
	})
	if err != nil {
		return nil, err
	}
	for _, name := range img.Names {
		if err := a.tag(ctx, img.manifest, name); err != nil {
			return nil, fmt.Errorf("it has image %s and does not name it %q: %w", img.manifest, name, err)
		}
	}
	return said, nil
}

// hasContent returns which layers the engine has, by diffID: it does not say which blobs it has.
// One that does not say either whether an image is whole has none.
func (a *api) hasContent(ctx context.Context, img *Image) (func(n int) bool, error) {
	_, header, err := a.answer(ctx, a.client, http.MethodGet, "/_ping")
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil || minorVersion(header.Get("Api-Version")) < availability || img.all() <= minSpared {
		return func(int) bool { return false }, nil
	}
	chains := a.askLayers(ctx, img, func(chains [][]digest.Digest) bool { return img.all()-img.bytes(a.has(img, chains)) <= minSpared })
	return a.has(img, chains), nil
}

// minorVersion returns the second number of 1.48, or 0.
func minorVersion(text string) int {
	minor, ok := strings.CutPrefix(text, "1.")
	n, err := strconv.Atoi(minor)
	if !ok || err != nil {
		return 0
	}
	return n
}

// checkContent fails if the engine has not everything that a manifest lists.
func (a *api) checkContent(ctx context.Context, manifest digest.Digest) error {
	has, err := a.Identify(ctx, manifest.String())
	switch {
	case errors.Is(err, ErrNotFound):
		return &refusal{fmt.Errorf("it has no image %s now", manifest)}
	case err == nil && has.Incomplete:
		return &refusal{fmt.Errorf("it has image %s now", has)}
	}
	return err
}

// tag names an image (API: ImageTag).
func (a *api) tag(ctx context.Context, id digest.Digest, name string) error {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return err
	}
	query := url.Values{"repo": {reference.FamiliarName(named)}}
	if tagged, ok := named.(reference.Tagged); ok {
		query.Set("tag", tagged.Tag())
	}
	_, _, err = a.answer(ctx, a.client, http.MethodPost, "/images/"+id.String()+"/tag?"+query.Encode())
	return err
}

// cleaning limits how long it may take to remove what a failed load left.
const cleaning = 10 * time.Second

// discard removes an image, unless it has a name by now, also when ctx is done (API: ImageDelete).
func (a *api) discard(ctx context.Context, id digest.Digest) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleaning)
	defer cancel()
	data, _, err := a.answer(ctx, a.client, http.MethodGet, "/images/"+id.String()+"/json")
	if err != nil {
		return
	}
	o, err := ordjson.ParseObject(data, "RepoTags")
	if err != nil {
		return
	}
	if tags, _ := o.Get("RepoTags"); tags != nil {
		if list, ok := tags.([]any); !ok || len(list) > 0 {
			return
		}
	}
	_, _, _ = a.answer(ctx, a.client, http.MethodDelete, "/images/"+id.String()) // what failed is reported
}
