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
// Package spec describes the image to build, package image an image as it is, package layer the
// bytes of its layers, and package tree the files in them. All other packages are internal.
package varve

import (
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/varve-image/varve/image"
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
	// empty means none.
	Cache string
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
