// Package varve builds container images from files, packages and Nix store closures, and moves
// them between archives, layouts, registries and engines. Same input, same bytes; no daemon, no
// root, no virtual machine.
//
// The command varve is built on it. Begin with [BuildFile], which makes the image that a spec
// file describes, or with [Build] and a spec that the program makes itself (package spec);
// [Write] writes an image to a place, [Open] and [Copy] read one from there. Places are written
// as on the command line: hello.tar, oci:DIR:NAME, docker://HOST/NAME:TAG,
// docker-daemon:NAME:TAG.
//
//	func main() {
//		varve.Init() // scripts in specs start this program again
//		ctx := context.Background()
//		img, err := varve.BuildFile(ctx, "image.yaml", nil)
//		if err != nil {
//			log.Fatal(err)
//		}
//		defer img.Close()
//		if _, err := varve.Write(ctx, img, "oci:images:hello", nil); err != nil {
//			log.Fatal(err)
//		}
//	}
//
// Guarantees:
//
//   - An image is a function of its spec, the files that it names, and Options; its
//     bytes do not depend on the machine, the user, the time or the version of Go.
//   - What is written appears whole or not at all. What is read is checked against its digests,
//     and limited in size.
//   - Unless Options says so, nothing is read from the environment but TMPDIR and the PATH of
//     programs that are run, and nothing is written to standard output or error.
//   - A context that is done ends every call; nothing is left behind.
//
// Errors say in words what was done to what, and those words may change. A program that does
// something about an error asks with errors.Is for [ErrNotPinned], [ErrNotFound], [ErrLogin],
// [ErrLacking], [ErrMismatch], [ErrNotInitialized] or an error of the context, and with errors.As
// for spec.Errors. All other errors are for people.
//
// Package spec describes the image to build, package image an image as it is, package layer the
// bytes of its layers, and package tree the files in them. All other packages are internal.
package varve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/distribution/reference"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/base"
	"github.com/varve-image/varve/internal/lack"
	"github.com/varve-image/varve/internal/memo"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/place/registry"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/layer"
)

// Errors that a program may do something about, for errors.Is.
var (
	// ErrNotPinned: the spec builds on an image that may be another one tomorrow: of a registry,
	// named by a tag that no varve.lock pins, or of an engine, with Options.Locked. What helps is
	// a digest, a varve.lock or Options.Unlocked.
	ErrNotPinned = base.ErrNotPinned
	// ErrNotFound: a place does not have an image of the name, or a blob of one, or there is no
	// such place. With Options.Locked, the cache does not have it.
	ErrNotFound = image.ErrNotFound
	// ErrLogin: a registry, or its token server, refused a request without a login, or with the
	// login that Options.Registry has for it.
	ErrLogin = registry.ErrLogin
	// ErrLacking: this machine lacks something that is needed, such as a program, an engine that
	// answers or a permission. No other input helps.
	ErrLacking = lack.ErrLacking
	// ErrMismatch: something does not have the digest or size that a name, a manifest, a config,
	// a varve.lock or a store's database promises.
	ErrMismatch = layer.ErrMismatch
	// ErrNotInitialized: a program that has not called Init builds a spec with scripts.
	ErrNotInitialized = errors.New("the spec has scripts, which start this program again: call varve.Init at the beginning of main")
)

// Options says how images are read, built and written. The zero value, and nil, are the
// command's defaults in an empty environment: no logins, no cache, no standard input and output,
// engines at their usual places.
type Options struct {
	// Platform is OS/ARCH[/VARIANT], such as linux/arm64. It chooses among images for several
	// platforms, and specs are read and built for it instead of the platform that they name.
	Platform string
	// TempDir is where archives are unpacked and scripts run; empty means the system's directory
	// for temporary files.
	TempDir string
	// MaxUnpacked limits what an archive, or the layers of an image, may unpack to, in bytes; it
	// defaults to 64 GiB. MaxEntries limits how many files they may have; it defaults to two
	// million, and to ten million for a tarball.
	MaxUnpacked int64
	MaxEntries  int
	// Compressor says how to compress layers that are not passed on as they are stored, and a
	// docker-archive whose name does not say how: none, gz or zstd, with a level as in zstd:19.
	// It defaults to gz, and to none for a docker-archive.
	Compressor string
	// Observe, where it is set, is called for each layer that is written, by one goroutine at a
	// time, with what was done to it. Warn is called with what is odd about what is read.
	Observe func(image.Event)
	Warn    func(text string)
	// Stdin and Stdout are read and written for the reference "-".
	Stdin  io.Reader
	Stdout io.Writer
	// Env returns a variable of the environment, or "", as os.Getenv does: engines are found by
	// DOCKER_HOST and the like. Nil means an empty environment.
	Env func(name string) string

	// Registry says how to talk to registries.
	Registry Registry
	// Cache is the directory that keeps base images fetched from registries, the digests of layers,
	// and what scripts made, which do not run again as long as nothing that they see has changed;
	// empty means none. CacheFrom names images that were pushed before, by someone who is trusted:
	// layers that they have need not be read, compressed or sent again.
	Cache     string
	CacheFrom []string
	// Lock is the path of a varve.lock, which pins the images that specs build on.
	Lock string
	// Locked takes base images from the cache alone; Unlocked takes what a tag names now,
	// whatever is pinned.
	Locked, Unlocked bool

	// Root is put before absolute store and input paths to find the files; StoreRoot before
	// paths in the store, instead.
	Root, StoreRoot string
	// SourceDateEpoch is the created time of images whose spec has none, in seconds since 1970;
	// it defaults to 1970-01-01T00:00:01Z. Now is the time that a spec's "now" stands for.
	SourceDateEpoch *int64
	Now             time.Time

	// Steps says how scripts in specs are run; see Init.
	Steps Steps
}

// Registry says how to talk to registries. The zero value is anonymous, over https.
type Registry struct {
	// Login, where it is set, returns the user and password for the registry at HOST[:PORT],
	// such as docker.io. If the user is empty, AuthFiles are read: paths of Docker's config.json
	// or Podman's auth.json.
	Login     func(host string) (user, password string, err error)
	AuthFiles []string
	// InsecureHosts, each HOST or HOST:PORT, may be reached over http, and over https with any
	// certificate.
	InsecureHosts []string
	// CAFile holds certificates, as PEM, of authorities to trust besides the machine's.
	CAFile string
	// Proxy returns the proxy for a request, as in http.Transport.
	Proxy func(*http.Request) (*url.URL, error)
	// UserAgent is the program's name in requests; it defaults to "varve".
	UserAgent string
}

// Steps limits what each script in a spec may use. The zero value means the defaults that its
// fields name.
type Steps struct {
	// AllowNetwork lets a spec ask for the machine's network.
	AllowNetwork bool
	// Time limits how long a script may run; it defaults to an hour.
	Time time.Duration
	// Memory, Disk and Output limit what its processes may use and write, in bytes; they default
	// to three quarters of the machine's memory, 64 GiB and 1 GiB.
	Memory, Disk, Output int64
	// Processes limits how many processes and threads it may have; it defaults to 4096.
	Processes int
	// Kernel is the kernel file of virtual machines; it defaults to the newest in /boot.
	Kernel string
	// Log receives what scripts write, line by line, and which of them do not run; nil discards it.
	Log io.Writer
}

func (s Steps) limits() sandbox.Limits {
	return sandbox.Limits{
		Time: cmp.Or(s.Time, sandbox.DefaultTime), Memory: cmp.Or(s.Memory, sandbox.DefaultMemory()),
		Disk: s.Disk, Output: cmp.Or(s.Output, sandbox.DefaultOutput), Processes: s.Processes,
	}
}

// output returns a function that opens the writer for a script's output, or nil to discard it.
func (s Steps) output() func(name string) io.WriteCloser {
	if s.Log == nil {
		return nil
	}
	return func(name string) io.WriteCloser {
		return &sandbox.Lines{Show: func(line string) { fmt.Fprintf(s.Log, "%s: %s\n", name, line) }}
	}
}

// reused returns a function that says of a script that it is not run, or nil to say nothing.
func (s Steps) reused() func(name string) {
	if s.Log == nil {
		return nil
	}
	return func(name string) {
		fmt.Fprintf(s.Log, "%s: not run: nothing that it sees has changed since it last ran\n", name)
	}
}

// options returns how to talk to the registry of a reference.
func (r Registry) options(ref string) (registry.Options, error) {
	opts := registry.Options{AuthFiles: r.AuthFiles, InsecureHosts: r.InsecureHosts, CAFile: r.CAFile, Proxy: r.Proxy, UserAgent: r.UserAgent}
	named, err := reference.ParseNormalizedNamed(ref)
	if err == nil && r.Login != nil {
		opts.Username, opts.Password, err = r.Login(reference.Domain(named))
	}
	return opts, err
}

// known is what was found out of layers before.
type known struct {
	memo   *memo.Memo    // on this machine; nil remembers nothing
	pushed *place.Pushed // nil for no images
}

func (o *Options) known(ctx context.Context) (k known, err error) {
	if len(o.CacheFrom) > 0 {
		if k.pushed, err = place.OpenPushed(ctx, o.CacheFrom, o.places()); err != nil {
			return k, err
		}
	}
	if o.Cache != "" {
		k.memo = memo.Open(ctx, o.Cache, func(err error) {
			if o.Warn != nil {
				o.Warn(err.Error())
			}
		})
	}
	return k, nil
}
