// Package registry reads images from registries and writes them there, by the
// OCI distribution specification 1.1 and Docker's registry HTTP API V2.
//
// Guarantees:
//
//   - What is read is checked: manifests, indexes and configs are strict JSON
//     of at most 8 MiB, compared with the digest that was asked for and with
//     the one that the registry states; no layer ends without an error if its
//     size or digest is not what its descriptor says.
//   - A host is reached in clear text, or without verifying its certificate, only if
//     Options.InsecureHosts names it. https is never downgraded to http.
//   - Credentials go to the registry that they are for, and to the token server that it names,
//     over https. They are not sent to where either redirects, nor to another host that takes an
//     upload, and appear in no error. Over http they go only to a loopback address, whatever
//     Options.InsecureHosts says.
//   - A host that the registry chose and the user did not name (a token server, a redirect, an
//     upload's location) is never reached at a loopback or link-local address.
//   - An upload uses a form that the registry accepts, trying Docker's first, and never repeats
//     what was refused. Transfers continue where they broke off. Retries, waits and answers are
//     limited; a transfer with no progress, or next to none, is broken off; when the context is
//     done everything ends at once.
//   - Memory is limited to a few chunks of uploads; nothing is written to disk.
//   - urls of a descriptor are never fetched.
//
// Non-goals: Docker's schema 1, client certificates, deleting, search.
//
// It is written on net/http: docs/design.md says which libraries were tried under it, and what
// each would have cost.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/layer"
)

// Options says how to talk to a registry. The zero value is anonymous, over https, verified by
// the machine's authorities, without a proxy.
type Options struct {
	// Platform is the platform that Open chooses from an index. If it is empty, an index has to
	// have only one image. An empty Variant accepts any, if only one image matches the rest.
	Platform v1.Platform
	// Username and Password log in. If Username is empty, AuthFiles are read: paths of Docker's
	// config.json or Podman's auth.json, of which the first that knows the registry wins. One
	// that does not exist is skipped. LoginFrom says in errors where Username comes from, such
	// as a flag's name.
	Username, Password string
	LoginFrom          string
	AuthFiles          []string
	// InsecureHosts, each HOST or HOST:PORT, may be reached over http, and over https with any
	// certificate. Without a port it means every port. Credentials are still not sent over http
	// on a network.
	InsecureHosts []string
	// CAFile holds certificates, as PEM, of authorities to trust besides the machine's.
	CAFile string
	// Proxy returns the proxy for a request, as in http.Transport.
	Proxy func(*http.Request) (*url.URL, error)
	// UserAgent is the program's name in requests; it defaults to "varve".
	UserAgent string
	// Retries limits how often a request or transfer is tried again without progress; it
	// defaults to 5, and negative means never.
	Retries int
	// StallTimeout limits how long the network may be silent; it defaults to 30 seconds.
	StallTimeout time.Duration
	// MinRate is the least rate of a transfer, in bytes a second of the time that the network
	// takes, on average over twice the StallTimeout; it defaults to 4096.
	MinRate int
	// Sleep waits between tries, or returns the context's error; it defaults to a timer. Tests
	// replace it.
	Sleep func(context.Context, time.Duration) error
	// Observe, where it is set, is called for each layer that is pushed, by one goroutine at a
	// time. The size of a layer that is passed on as it is stored is its stored size.
	Observe func(image.Event)
	// Debug, where it is set, is called with how registries are reached, who logs in (never with
	// what), and which blobs are sent. Several goroutines may call it.
	Debug func(text string)
}

func (o Options) debugf(format string, args ...any) {
	if o.Debug != nil {
		o.Debug(fmt.Sprintf(format, args...))
	}
}

// PushOptions says how to write an image to a registry.
type PushOptions struct {
	Options
	// Compression says how to compress layers that are not passed on as they are stored.
	Compression compress.Compression
	// Recompress compresses stored layers anew too.
	Recompress bool
	// Untagged gives the manifest no tag, for an index to list: the reference's tag is then for
	// the index.
	Untagged bool
	// Memo, where it is set, remembers what layers are compressed to.
	Memo image.Memo
	// MountFrom are repositories of the same registry, without its name, that
	// may have layers of the image already, besides those that the image's
	// layers were opened from: the registry then takes them from there.
	MountFrom []string
	// Verified, where it is set, remembers which layers were unpacked, for Copy.
	Verified layer.BlobMemo
	// Budget, where it is set, makes the limits for the layers of each image, for Copy.
	Budget func() *layer.Budget
	// Warn, where it is set, is called by Copy with what is odd but copied all the same.
	Warn func(error)
}

const (
	defaultRetries = 5
	defaultStall   = 30 * time.Second
	defaultMinRate = 4 << 10
	// commitFactor times the stall time-out is how long a registry may take to
	// check an upload.
	commitFactor = 10
	// maxWait limits one wait between tries, whatever the registry asks for.
	maxWait = time.Minute
	// maxErrorBody limits what is read of an answer that is an error, and maxTokenBody of a
	// token server's answer, in bytes.
	maxErrorBody = 64 << 10
	maxTokenBody = 1 << 20
)

func (o Options) check() error {
	if o.Password != "" && o.Username == "" {
		return errors.New("a password was given without a user name")
	}
	for _, host := range o.InsecureHosts {
		if _, err := parseHost(host); err != nil {
			return fmt.Errorf("insecure host: %w", err)
		}
	}
	return nil
}

func (o Options) retries() int {
	switch {
	case o.Retries < 0:
		return 0
	case o.Retries == 0:
		return defaultRetries
	}
	return o.Retries
}

func (o Options) stall() time.Duration {
	if o.StallTimeout <= 0 {
		return defaultStall
	}
	return o.StallTimeout
}

func (o Options) minRate() int64 {
	if o.MinRate <= 0 {
		return defaultMinRate
	}
	return int64(o.MinRate)
}

// sleep waits for d, or until ctx is done.
func (o Options) sleep(ctx context.Context, d time.Duration) error {
	if o.Sleep != nil {
		return o.Sleep(ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
