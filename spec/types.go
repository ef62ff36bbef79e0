package spec

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/varve-image/varve/image/ordjson"
)

// The comments of the fields below are also the descriptions in the JSON
// Schema: see schema.go.

// Spec describes an image. Parse returns one that is checked and has its
// defaults filled in. A program makes one with New: the zero value has no
// defaults.
type Spec struct {
	// The image's name, lower-cased. It may hold a registry's host:port and
	// slashes, but no tag or digest.
	Name string `json:"name"`
	// Arguments with their default values; null for one that has none. --set gives
	// them others. In a spec with args, ${NAME} stands for the value in all texts
	// but scripts, which have it in their environment. In Go: what scripts have;
	// nil for a spec without args.
	Args []KeyValue `json:"args,omitempty"`
	// The image's tag. Default: taken from the image id.
	Tag string `json:"tag,omitempty"`
	// Further tags of the image, which then has a name for each. With tags and
	// without tag it has these alone.
	Tags []string `json:"tags,omitempty"`
	// The image that this one builds on: an image reference such as
	// docker-archive:base.tar, oci:dir:name, docker://host/name@sha256:…, or the
	// path of an archive or layout. A relative path starts at the spec's folder.
	// ${arch}, ${os}, ${variant} and ${platform} stand for the image's.
	FromImage string `json:"fromImage,omitempty"`
	// The name of the image in an archive that holds several; fromImageTag goes
	// with it. Default: the first image.
	FromImageName string `json:"fromImageName,omitempty"`
	// The tag of the image in an archive that holds several.
	FromImageTag string `json:"fromImageTag,omitempty"`
	// What of the base image's config is kept: all that this config does not
	// set, or env alone, as dockerTools does. Default: all.
	Inherit Inherit `json:"inherit,omitempty"`
	// Store paths whose closure becomes layers and whose files are linked from
	// the root of the image. A path outside a store is copied as copyToRoot does.
	Contents []string `json:"contents,omitempty"`
	// Directories, files and tarballs that are copied into the image. In paths of
	// sources, ${arch}, ${os}, ${variant} and ${platform} stand for the image's.
	CopyToRoot []Copy `json:"copyToRoot,omitempty"`
	// What happens where a symlink to a directory meets a directory. false: one
	// in a source is copied as a directory (rsync -k). true: one at the
	// destination is written through (rsync -K).
	KeepContentsDirlinks bool `json:"keepContentsDirlinks,omitempty"`
	// The file that tells which store paths refer to which: an
	// exportReferencesGraph JSON or a registration file. Default: found by
	// looking into the store paths.
	Closure string `json:"closure,omitempty"`
	// The directory that store paths are in. Default: /nix/store.
	StoreDir string `json:"storeDir,omitempty"`
	// Whether the store paths themselves are put into the image. Default: true.
	IncludeStorePaths bool `json:"includeStorePaths,omitempty"`
	// Whether the image gets Nix's database of the store paths, so that Nix works
	// in it, and garbage collector roots for them. Default: false.
	IncludeNixDB bool `json:"includeNixDB,omitempty"`
	// How many layers the whole image may have, 1 to 127. Default: 100.
	MaxLayers int `json:"maxLayers,omitempty"`
	// How store paths are spread over layers: popularity gives the paths that
	// most others need a layer each; auto gives large paths a layer each, with
	// what only they need; stable joins paths so that little is sent again when
	// some of them change; single makes one layer of everything. Default:
	// stable, or popularity with layerFormat: 1.
	Layering Layering `json:"layering,omitempty"`
	// The plan of layering: stable: what of its layers is still there stays
	// together. A file that varve lock --layers wrote, whose name ends in .lock; or
	// an image, as fromImage names one, whose history tells its layers; or auto, the
	// image that is replaced, which needs --unlocked. Default: none.
	Previous string `json:"previous,omitempty"`
	// The version of the bytes of layers, 1 or 2. 1 makes the images that varve made before
	// version 2: each name of a file is a copy, and a change of the config alone
	// adds an empty layer. Default: what varve.lock says, else 2.
	LayerFormat int `json:"layerFormat,omitempty"`
	// What the closure begins at besides what config and the image's files
	// mention: contents, which are then in the image whether or not anything
	// mentions them, or the image itself, as in dockerTools. Then config and the
	// top layer count as paths of their sizes in layering: auto. Default: contents.
	ClosureRoots ClosureRoots `json:"closureRoots,omitempty"`
	// How store paths are divided into layers, in nixpkgs' language: a list of
	// operations, or the path of a JSON file that holds one. It takes the place
	// of maxLayers.
	LayeringPipeline *Pipeline `json:"layeringPipeline,omitempty"`
	// Explicit layers, bottom first: never split or merged further.
	Layers []Group `json:"layers,omitempty"`
	// Files that many images need: nss, shadow, binSh, usrBinEnv,
	// caCertificates, tmp.
	Presets []Preset `json:"presets,omitempty"`
	// Modes, owners and capabilities for entries of the top layer. Later rules
	// win. A rule that matches nothing there changes what the layers below have; one
	// that matches nothing at all is an error.
	Perms []PermRule `json:"perms,omitempty"`
	LayerFiles
	// What happens when two sources give one path different entries: error,
	// first or last. Default: error.
	Conflicts Conflicts `json:"conflicts,omitempty"`
	// The config as in the OCI image specification. The first letter of a key
	// may be of either case; unknown keys are kept as written.
	Config *ordjson.Object `json:"config,omitempty"`
	// The machine the image is for, as Go names it: amd64, arm64 … Default:
	// this machine's.
	Architecture string `json:"architecture,omitempty"`
	// A kind of the architecture, such as v7 of arm. Default: none, or the base
	// image's.
	Variant string `json:"variant,omitempty"`
	// The operating system the image is for. Default: linux, the only one.
	OS string `json:"os,omitempty"`
	// When the image was created: RFC 3339 in whole seconds, a date, @seconds
	// or now. Default: SOURCE_DATE_EPOCH, else 1970-01-01T00:00:01Z.
	Created *Time `json:"created,omitempty"`
	// The modification time of all entries in layers: RFC 3339 in whole
	// seconds, a date or @seconds. Default: 1970-01-01T00:00:01Z.
	MTime int64 `json:"mtime,omitempty"`
	// The modification time of the entries in layers of trees, which are all but
	// those of store paths alone. Default: mtime.
	TreeMTime int64 `json:"treeMtime,omitempty"`
	// The user id that owns the store layers, 0 to 4294967294. Default: 0.
	UID uint32 `json:"uid,omitempty"`
	// The group id that owns the store layers, 0 to 4294967294. Default: 0.
	GID uint32 `json:"gid,omitempty"`
	// The name of the user that owns the store layers. Default: root.
	Uname string `json:"uname,omitempty"`
	// The name of the group that owns the store layers. Default: root.
	Gname string `json:"gname,omitempty"`
	// How the image is compressed: none, gz or zstd, with a level as in gz:9 or
	// zstd:19. Default: gz, or what the name of the output says.
	Compressor string `json:"compressor,omitempty"`
	// Shell text that is run in the top layer's tree as an ordinary user, with
	// this machine's programs: its current directory is the tree.
	ExtraCommands string `json:"extraCommands,omitempty"`
	// Shell text that is run as extraCommands is, after it, as root as far as
	// the tree is concerned: chown takes effect in the image.
	FakeRootCommands string `json:"fakeRootCommands,omitempty"`
	// Whether fakeRootCommands has the tree as its root directory, and the
	// tree's programs instead of the machine's.
	EnableFakechroot bool `json:"enableFakechroot,omitempty"`
	// Shell text that is run as root in the image: what it changes and deletes
	// becomes part of the top layer. It comes before the others.
	RunAsRoot string `json:"runAsRoot,omitempty"`
	// The program that runs the shell text. Default: bash or sh, of the image
	// where the text runs in it, else of this machine.
	Shell string `json:"shell,omitempty"`
	// The directories of programs for shell text, as $PATH is written or as a
	// list. Default: /usr/sbin:/usr/bin:/sbin:/bin.
	Path []string `json:"path,omitempty"`
	// What shuts shell text away from this machine: userns, namespaces of the
	// kernel, or vm, a virtual machine, which needs QEMU and a kernel. Either
	// needs Linux. Default: userns.
	Isolation Isolation `json:"isolation,omitempty"`
	// What shell text can reach: none, or host, this machine's network, which
	// --allow-network has to allow. Default: none.
	Network Network `json:"network,omitempty"`
	// The size of the virtual machine's disk in MiB. Default: 1024.
	DiskSize int `json:"diskSize,omitempty"`
	// The size of the virtual machine's memory in MiB. Default: 512.
	BuildVMMemorySize int `json:"buildVMMemorySize,omitempty"`
	// Annotations of the manifest.
	Annotations []KeyValue `json:"annotations,omitempty"`
	// Labels of the image: short for config.Labels. null takes the base image's
	// away.
	Labels []KeyValue `json:"labels,omitempty"`

	// local holds the paths that were written as relative ones, and how.
	local map[string]string
}

// Copy is something that is copied into the image.
type Copy struct {
	// The directory, file or tarball to copy, or a glob, ** included. A relative path starts at the
	// spec's folder.
	Source string `json:"source,omitempty"`
	// The image that source is a path in: a reference as fromImage's. Owners are
	// those in the image, unless owner says otherwise.
	Image string `json:"image,omitempty"`
	// The text of a file, in the place of source. The target names the file; its
	// mode is 0644 by default.
	Content *string `json:"content,omitempty"`
	// The place in the image that a directory or tarball is unpacked at. A file
	// gets this name, or is put into it if it ends in a slash. Default: /.
	Target string `json:"target,omitempty"`
	// The mode of the target itself, in octal: of the file, or of the top
	// directory. What is below keeps its modes. Default: as in the source.
	Mode *uint32 `json:"mode,omitempty"`
	// The owner of everything that is copied: "user:group", each a name of the
	// image or a number, one of them for both, or keep for what a tarball says.
	// Default: 0:0.
	Owner *Owner `json:"owner,omitempty"`
	// Globs, ** included, of paths below the source that are left out.
	Exclude []string `json:"exclude,omitempty"`
	// A file of patterns of what is left out below the source, with the rules of
	// .dockerignore. A relative path starts at the spec's folder.
	IgnoreFile string `json:"ignoreFile,omitempty"`
	// Whether names of one file in a directory are hard links in the image, too,
	// instead of copies. Tarballs say so by themselves. Default: false.
	HardLinks bool `json:"hardLinks,omitempty"`
}

// Group is one explicit layer.
type Group struct {
	// Store paths of this layer: as the field of the same name of the image.
	Contents []string `json:"contents,omitempty"`
	// What is copied into this layer: as the field of the same name of the image.
	CopyToRoot []Copy `json:"copyToRoot,omitempty"`
	// As the field of the same name of the image.
	KeepContentsDirlinks bool `json:"keepContentsDirlinks,omitempty"`
	// Modes, owners and capabilities of entries of this layer, or of what the
	// layers below have, as the field of the same name of the image.
	Perms []PermRule `json:"perms,omitempty"`
	LayerFiles
	// The directory of a layer that was built by itself (varve build -o
	// layer:DIR), in the place of the other fields. A relative path starts at the
	// spec's folder.
	Built string `json:"built,omitempty"`
}

// PermRule sets attributes of the entries whose path matches a glob.
type PermRule struct {
	// A glob over paths in the image; ** stands for any number of directories.
	Path string `json:"path"`
	// The mode, in octal: 0755, "0755" and 755 are the same.
	Mode *uint32 `json:"mode,omitempty"`
	// The user id, 0 to 4294967294.
	UID *uint32 `json:"uid,omitempty"`
	// The group id, 0 to 4294967294.
	GID *uint32 `json:"gid,omitempty"`
	// The owner, in the place of uid and gid: "user:group", each a name of the
	// image or a number, or one of them for both.
	Owner *Owner `json:"owner,omitempty"`
	// File capabilities as setcap takes them: cap_net_bind_service+ep.
	Capabilities string `json:"capabilities,omitempty"`
}

// Layering is how store paths are spread over layers.
type Layering string

// The values of Layering.
const (
	Popularity Layering = "popularity"
	Auto       Layering = "auto"
	Stable     Layering = "stable"
	Single     Layering = "single"
)

// DefaultLayering is how specs spread store paths that do not say how. With version 1 of the bytes of
// layers it is Popularity.
const DefaultLayering = Stable

// PreviousAuto is the value of Spec.Previous that stands for the image that is replaced.
const PreviousAuto = "auto"

// ClosureRoots is what the closure begins at.
type ClosureRoots string

// The values of ClosureRoots.
const (
	RootsContents ClosureRoots = "contents"
	RootsImage    ClosureRoots = "image"
)

// Pipeline is a layeringPipeline, or says where it is.
type Pipeline struct {
	// File is the absolute path of a JSON file; empty if the spec itself has
	// the operations.
	File string
	// Operations are as they are written, as package ordjson has them.
	Operations []any
}

// Inherit is what of the base image's config is kept.
type Inherit string

// The values of Inherit.
const (
	InheritAll Inherit = "all"
	InheritEnv Inherit = "env"
)

// Conflicts is what happens when two sources give one path different entries.
type Conflicts string

// The values of Conflicts.
const (
	ConflictsError Conflicts = "error"
	ConflictsFirst Conflicts = "first"
	ConflictsLast  Conflicts = "last"
)

// Time is a point in time in whole seconds, or the moment of the build.
type Time struct {
	// Now says that the time is that of the build; Seconds is 0 then.
	Now bool
	// Seconds counts from 1970-01-01T00:00:00Z: 0 to MaxTime.
	Seconds int64
}

// MaxTime is 9999-12-31T23:59:59Z, the last second that RFC 3339 can say.
const MaxTime = 253402300799

// KeyValue is one item of a map. Lists of them are in the order of their keys.
type KeyValue struct {
	Key, Value string
}

// MaxLayers is the most layers an image may have: Docker's storage stops
// between 125 and 127.
const MaxLayers = 127

// LayerFormat is the newest version of the bytes of layers, which specs get by default.
const LayerFormat = 2

// AllTags returns the image's tags, Tag first; without any, its tag is made of its id.
func (s *Spec) AllTags() []string {
	if s.Tag == "" {
		return s.Tags
	}
	return append([]string{s.Tag}, s.Tags...)
}

// Local reports whether path was written relative to the spec's folder (or, in
// a setting, to the working directory). Such a path is on this machine as it
// stands, even where absolute ones are looked up below another root.
func (s *Spec) Local(path string) bool {
	return s.local[path] != ""
}

// Written returns an image reference as it was written.
func (s *Spec) Written(ref string) string { return cmp.Or(s.local[ref], ref) }

// LocalReference reports whether an image reference names a path that was
// written relative to the spec's folder: see Local.
func (s *Spec) LocalReference(ref string) bool {
	if transport, rest, found := strings.Cut(ref, ":"); found && slices.Contains(pathTransports(), transport) {
		ref, _, _ = strings.Cut(rest, ":")
	}
	return s.local[ref] != ""
}

// withDefaults returns a spec with nothing set but the defaults that depend on
// nothing.
func withDefaults() *Spec {
	return &Spec{
		StoreDir:          "/nix/store",
		IncludeStorePaths: true,
		MaxLayers:         100,
		Inherit:           InheritAll,
		Layering:          DefaultLayering,
		LayerFormat:       LayerFormat,
		ClosureRoots:      RootsContents,
		Conflicts:         ConflictsError,
		Config:            &ordjson.Object{},
		OS:                "linux",
		MTime:             1,
		TreeMTime:         1,
		Uname:             "root",
		Gname:             "root",
		Path:              DefaultPath(),
		Isolation:         UserNS,
		Network:           NetworkNone,
		DiskSize:          1024,
		BuildVMMemorySize: 512,
		local:             map[string]string{},
	}
}

// sortedPairs returns m's items in the order of their keys.
func sortedPairs(m map[string]string) []KeyValue {
	pairs := make([]KeyValue, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		pairs = append(pairs, KeyValue{k, m[k]})
	}
	return pairs
}
