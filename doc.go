// Package varve builds container images from files, packages and Nix store closures, and moves
// them between archives, layouts, registries and engines. Same input, same bytes; no daemon, no
// root, no virtual machine.
//
// It is what the command varve is made of. Begin with [BuildFile], which makes the image that a
// spec file describes, or with [Build] and a spec that the program makes itself (package spec);
// [Write] brings an image to a place, [Open] and [Copy] take one from there. Places are written
// as on the command line: hello.tar, oci:DIR:NAME, docker://HOST/NAME:TAG, docker-daemon:NAME:TAG.
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
//   - What is written appears whole or not at all. What is read is checked against its
//     digests, and bounded.
//   - Nothing is read from the environment, but TMPDIR and the PATH of programs that
//     are run, and nothing written to standard output or error, unless Options says so.
//   - A context that is done ends every call; nothing is left behind.
//
// Package spec describes what an image is to be, package image what it is, package layer its
// layers' bytes, and package tree the files in them. All other packages are varve's own.
package varve

import (
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/varve-image/varve/image"
)

// Options says what images are read, built and written with. The zero value, and nil, are the
// command's defaults, without its environment: no logins, no cache, no standard input and
// output, engines at their usual places.
type Options struct {
	// Platform is OS/ARCH[/VARIANT], such as linux/arm64: what is chosen of several, and what
	// specs are read and built for instead of what they say.
	Platform string
	// TempDir is where archives are unpacked and scripts run; empty is the system's place for
	// temporary files.
	TempDir string
	// MaxUnpacked is the most that an archive, or the layers of an image, may unpack to, in
	// bytes; 0 is 64 GiB. MaxEntries is the most files that they may have; 0 is two million,
	// and ten million for a tarball.
	MaxUnpacked int64
	MaxEntries  int
	// Compressor is how layers are compressed that are not passed on as they are stored, or a
	// docker-archive whose name does not tell: none, gz or zstd, with a level as in zstd:19.
	// Empty is gz, and none for a docker-archive.
	Compressor string
	// Observe, where it is set, is told of each layer that is written, from one goroutine at a
	// time. Warn is told what is odd about what is read.
	Observe func(image.Event)
	Warn    func(text string)
	// Stdin and Stdout are what the reference "-" stands for.
	Stdin  io.Reader
	Stdout io.Writer
	// Env returns a variable of the environment, or "", such as os.Getenv: engines are found by
	// DOCKER_HOST and the like. Nil is an empty environment.
	Env func(name string) string

	// Registry says how registries are spoken to.
	Registry Registry
	// Cache is the directory of what was fetched from registries to build on; empty is none.
	Cache string
	// Lock is the path of a varve.lock, which pins the images that specs build on.
	Lock string
	// Locked has base images taken from the cache alone; Unlocked takes what a tag names now,
	// whatever is pinned.
	Locked, Unlocked bool

	// Root is put before absolute store and input paths to find the files; StoreRoot before
	// paths in the store, instead.
	Root, StoreRoot string
	// SourceDateEpoch is the created time of images whose spec has none, in seconds since 1970;
	// nil is 1970-01-01T00:00:01Z. Now is what a spec's "now" stands for.
	SourceDateEpoch *int64
	Now             time.Time

	// Steps says how scripts in specs are run; see Init.
	Steps Steps
}

// Registry says how registries are spoken to. The zero value is anonymous, over https.
type Registry struct {
	// Login, where it is set, returns who logs in to the registry at HOST[:PORT], such as
	// docker.io, and the password; an empty user is nobody. Then AuthFiles are asked: paths of
	// Docker's config.json or Podman's auth.json.
	Login     func(host string) (user, password string, err error)
	AuthFiles []string
	// InsecureHosts, each HOST or HOST:PORT, may be spoken to in http, and in https with any
	// certificate.
	InsecureHosts []string
	// CAFile holds certificates, as PEM, of authorities that are trusted besides the machine's.
	CAFile string
	// Proxy returns the proxy for a request, as in http.Transport.
	Proxy func(*http.Request) (*url.URL, error)
	// UserAgent is how the program introduces itself; empty is "varve".
	UserAgent string
}

// Steps bounds what each script in a spec may use. The zero value has the defaults that its
// fields name.
type Steps struct {
	// AllowNetwork lets a spec ask for the machine's network.
	AllowNetwork bool
	// Time is how long a script may run; 0 is an hour.
	Time time.Duration
	// Memory, Disk and Output bound what its processes may use and write, in bytes; 0 is three
	// quarters of the machine's memory, 64 GiB and 1 GiB.
	Memory, Disk, Output int64
	// Processes bounds how many processes and threads it may have; 0 is 4096.
	Processes int
	// Kernel is the kernel file of virtual machines; empty is the newest in /boot.
	Kernel string
	// Log gets what scripts write, line by line; nil throws it away.
	Log io.Writer
}
