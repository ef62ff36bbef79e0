package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// nameless is the name of an image without a name, before its digest, and unnamed that of one which
// has no name yet, before a random text.
const (
	nameless = "import"
	unnamed  = "varve-load-"
)

// Load makes ctr import the archive without the blobs that containerd has, and unpack the image.
// containerd keeps nothing without a name, and names an image before it is unpacked: so it is
// imported under a name of its own, and gets others when it is known to be whole. An image without
// a name is named after its digest, as ctr does.
func (c *containerd) Load(ctx context.Context, img *Image) ([]string, error) {
	d, err := img.description(ctx)
	if err != nil {
		return nil, err
	}
	if name := nameless + "@" + d.Manifest.String(); len(img.Names) == 0 {
		// Others may use it by this name: it is not imported over it.
		if is, err := c.identify(ctx, name); err == nil && is.Manifest == d.Manifest && !is.Incomplete {
			return []string{name}, nil
		}
	}
	has := func(int) bool { return false }
	if img.all() > minSpared {
		blobs, err := c.contents(ctx)
		if err != nil {
			return nil, err
		}
		has = func(n int) bool { return blobs[d.Layers[n]] }
	}
	base := nameless
	if len(img.Names) > 0 {
		base = unnamed + strings.ToLower(rand.Text())
	}
	said, err := img.sparingly(ctx, Form{Kind: OCI, Nameless: true}, has, func(ctx context.Context, form Form) ([]string, error) {
		return c.load(ctx, img, base, form)
	})
	if err != nil || len(img.Names) == 0 {
		return said, err
	}
	defer c.forget(ctx, said)
	full := make([]string, len(img.Names))
	for i, name := range img.Names {
		if full[i], err = fullName(name); err != nil {
			return nil, err
		}
	}
	args := append(c.locally(ctx, "images", "tag"), "--force", said[0])
	if _, err := output(ctx, maxText, "ctr", c.args(append(args, full...)...)...); err != nil {
		return nil, err
	}
	return full, nil
}

// load imports an archive, and returns the name of the one image in it, which is whole. Otherwise
// the name is removed.
func (c *containerd) load(ctx context.Context, img *Image, base string, form Form) ([]string, error) {
	args := append(c.locally(ctx, "images", "import"), "--digests", "--base-name", base)
	if img.Index {
		args = append(args, "--all-platforms")
	}
	args = append(args, "-")
	_, err := feed(ctx, img.write(form), "ctr", c.args(args...)...)
	if img.manifest == "" { // it was not written
		if err == nil {
			err = errors.New("ctr has not read the image")
		}
		return nil, err
	}
	name := base + "@" + img.manifest.String()
	if err == nil {
		err = c.check(ctx, img, name)
	}
	if err != nil {
		c.forget(ctx, []string{name})
		return nil, err
	}
	return []string{name}, nil
}

// check fails if containerd has not the whole image under that name.
func (c *containerd) check(ctx context.Context, img *Image, name string) error {
	has, err := c.identify(ctx, name)
	switch {
	case errors.Is(err, ErrNotFound) || err == nil && has.Manifest != img.manifest:
		return &refusal{errors.New("ctr imports it, and containerd does not have it then")}
	case err == nil && has.Incomplete:
		return &refusal{fmt.Errorf("ctr imports it, and containerd then has %s", has)}
	}
	return err
}

// contents returns the digests of containerd's blobs.
func (c *containerd) contents(ctx context.Context) (map[digest.Digest]bool, error) {
	text, err := output(ctx, maxInspect, "ctr", c.args("content", "ls", "--quiet")...)
	blobs := map[digest.Digest]bool{}
	for _, d := range strings.Fields(string(text)) {
		blobs[digest.Digest(d)] = true
	}
	return blobs, err
}

// forget removes names, also when ctx is done.
func (c *containerd) forget(ctx context.Context, names []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleaning)
	defer cancel()
	_, _ = output(ctx, maxText, "ctr", c.args(append([]string{"images", "rm"}, names...)...)...) // what failed is reported
}

// locally adds the option to a command of ctr that makes ctr do its work itself, where it has it:
// otherwise containerd's transfer service does it, which refuses what it was not configured for and
// may lose the end of an archive.
func (c *containerd) locally(ctx context.Context, args ...string) []string {
	local, known := c.local.get()
	if !known {
		// Since containerd 2.0.
		text, err := output(ctx, maxText, "ctr", "images", "import", "--help")
		if local = strings.Contains(string(text), "--local"); err == nil {
			c.local.set(local)
		}
	}
	if local {
		args = slices.Insert(args, 2, "--local")
	}
	return args
}
