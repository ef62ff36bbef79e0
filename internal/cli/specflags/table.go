package specflags

import (
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/spec"
)

// row declares a flag that sets a field of the spec.
type row struct {
	// value is the placeholder of the flag's value.
	name, field, value, help string
	// unset says, for help, what holds without the flag.
	unset string
	list  bool
}

// choices returns the words that the flag takes, if they are few.
func (f *row) choices() []string {
	if f.field == "compressor" {
		return compress.Names()
	}
	return spec.Choices(f.field)
}

// table has a flag for every scalar and list field, in the groups and the order
// of the help.
var table = []struct {
	group func(Groups) cmdline.FlagGroup
	flags []row
}{
	{func(g Groups) cmdline.FlagGroup { return g.Image }, []row{
		{name: "name", field: "name", value: "NAME", help: "name of the image, such as ghcr.io/acme/hello"},
		{name: "tag", field: "tag", value: "TAG", help: "tag of the image", unset: "made of the image's id", list: true},
		{name: "annotation", field: "annotations", value: "KEY=VALUE", help: "annotation of the image's manifest", list: true},
		{name: "from", field: "fromImage", value: "IMAGE", help: "base image to build on"},
		{name: "inherit", field: "inherit", value: "WHAT", help: "how much to keep of the base image's config", unset: "all"},
		{name: "architecture", field: "architecture", value: "ARCH", help: "architecture of the image, as Go names it", unset: "this machine's"},
		{name: "variant", field: "variant", value: "VARIANT", help: "variant of the architecture, such as v7 of arm"},
		{name: "os", field: "os", value: "OS", help: "operating system of the image"},
		{name: "created", field: "created", value: "TIME", help: "creation time in the image's config: RFC 3339, a date, @SECONDS or now", unset: "SOURCE_DATE_EPOCH or @1"},
		{name: "max-layers", field: "maxLayers", value: "NUMBER", help: "how many layers the image may have", unset: "100"},
		{name: "layering", field: "layering", value: "HOW", help: "how store paths are divided into layers", unset: string(spec.DefaultLayering)},
		{name: "previous", field: "previous", value: "PLAN", help: "layers.lock or image whose layers stay together where they can, with --layering=stable"},
		{name: "layer-format", field: "layerFormat", value: "VERSION", help: "version of the bytes of layers, 1 or 2", unset: "what varve.lock says, or 2"},
		{name: "layering-pipeline", field: "layeringPipeline", value: "FILE", help: "JSON file with a pipeline that divides store paths into layers, as nixpkgs' layeringPipeline"},
	}},
	{func(g Groups) cmdline.FlagGroup { return g.File }, []row{
		{name: "copy", field: "copyToRoot", value: "SRC[:DST]", help: "directory, file or tarball to copy into the image", list: true},
		{name: "preset", field: "presets", value: "NAME[=ARG]", help: "files that varve makes", list: true},
		{name: "perm", field: "perms", value: "GLOB:MODE[:OWNER]", help: "mode and owner of the files that a pattern matches", list: true},
		{name: "remove", field: "remove", value: "GLOB", help: "files of the base image, and of other layers below, that the image does without", list: true},
		{name: "directory", field: "directories", value: "PATH[:MODE[:OWNER]]", help: "directory to make, or to give another mode or owner", list: true},
		{name: "symlink", field: "symlinks", value: "PATH=TEXT", help: "symlink to make", list: true},
		{name: "add-user", field: "users", value: "NAME[:UID[:GID]]", help: "user to add to the image", list: true},
		{name: "add-group", field: "groups", value: "NAME[:GID]", help: "group of users to add to the image", list: true},
		{name: "conflicts", field: "conflicts", value: "HOW", help: "what happens when two sources give one path different files", unset: "error"},
		{name: "keep-contents-dirlinks", field: "keepContentsDirlinks", value: "BOOL", help: "copy directories through symlinks to directories, instead of replacing those"},
		{name: "mtime", field: "mtime", value: "TIME", help: "modification time of all files: RFC 3339, a date or @SECONDS", unset: "@1"},
		{name: "tree-mtime", field: "treeMtime", value: "TIME", help: "modification time of the files outside of store layers", unset: "that of --mtime"},
	}},
	{func(g Groups) cmdline.FlagGroup { return g.Config }, []row{
		{name: "entrypoint", field: "config.Entrypoint", value: "ARG", help: "word of the entry point, which comes before the command", list: true},
		{name: "cmd", field: "config.Cmd", value: "ARG", help: "word of the command that a container runs", list: true},
		{name: "env", field: "config.Env", value: "NAME=VALUE", help: "environment variable", list: true},
		{name: "user", field: "config.User", value: "USER[:GROUP]", help: "user that the command runs as"},
		{name: "workdir", field: "config.WorkingDir", value: "DIR", help: "directory that the command starts in"},
		{name: "expose", field: "config.ExposedPorts", value: "PORT[/PROTO]", help: "port that the image listens on", list: true},
		{name: "volume", field: "config.Volumes", value: "DIR", help: "directory that is a volume", list: true},
		{name: "label", field: "labels", value: "KEY=VALUE", help: "label of the image", list: true},
		{name: "stop-signal", field: "config.StopSignal", value: "SIGNAL", help: "signal that stops the command"},
	}},
	{func(g Groups) cmdline.FlagGroup { return g.Store }, []row{
		{name: "content", field: "contents", value: "PATH", help: "store path whose closure becomes layers, and whose files are linked from /", list: true},
		{name: "closure", field: "closure", value: "FILE", help: "file with the references of the store paths: exportReferencesGraph's JSON or a registration", unset: "the store's database, or what the files mention"},
		{name: "closure-roots", field: "closureRoots", value: "WHAT", help: "where the closure begins", unset: "contents"},
		{name: "include-store-paths", field: "includeStorePaths", value: "BOOL", help: "put the store paths into the image; with =false only links to them"},
		{name: "include-nix-db", field: "includeNixDB", value: "BOOL", help: "add Nix's database of the store paths"},
		{name: "uid", field: "uid", value: "ID", help: "owner of the files in store layers", unset: "0"},
		{name: "gid", field: "gid", value: "ID", help: "group of the files in store layers", unset: "0"},
		{name: "uname", field: "uname", value: "NAME", help: "name of the owner of the files in store layers", unset: "root"},
		{name: "gname", field: "gname", value: "NAME", help: "name of the group of the files in store layers", unset: "root"},
		{name: "store-dir", field: "storeDir", value: "DIR", help: "directory of the store paths", unset: "/nix/store"},
	}},
	{func(g Groups) cmdline.FlagGroup { return g.Script }, []row{
		{name: "run-as-root", field: "runAsRoot", value: "SCRIPT", help: "shell text to run as root in the image, with the image's programs (Linux only)"},
		{name: "extra-commands", field: "extraCommands", value: "SCRIPT", help: "shell text to run in the top layer's files, with this machine's programs (Linux only)"},
		{name: "fake-root-commands", field: "fakeRootCommands", value: "SCRIPT", help: "shell text to run like --extra-commands, but as root as far as the files are concerned (Linux only)"},
		{name: "enable-fakechroot", field: "enableFakechroot", value: "BOOL", help: "run fakeRootCommands with the files as the root directory"},
		{name: "shell", field: "shell", value: "PROGRAM", help: "shell that runs scripts", unset: "bash or sh"},
		{name: "path", field: "path", value: "DIRS", help: "PATH of scripts", unset: "/usr/sbin:/usr/bin:/sbin:/bin"},
		{name: "isolation", field: "isolation", value: "HOW", help: "how scripts are kept apart from this machine; vm needs QEMU and a kernel", unset: "userns"},
		{name: "network", field: "network", value: "WHAT", help: "network that scripts can reach; host needs --allow-network too", unset: "none"},
		{name: "disk-size", field: "diskSize", value: "MIB", help: "size of the virtual machine's disk, in MiB", unset: "1024"},
		{name: "build-vm-memory-size", field: "buildVMMemorySize", value: "MIB", help: "memory of the virtual machine, in MiB", unset: "512"},
	}},
	{func(g Groups) cmdline.FlagGroup { return g.Output }, []row{
		{name: "compressor", field: "compressor", value: "HOW", help: "how the archive or the layers are compressed, with a level if wanted, as in gz:9", unset: "as the output's name says, or gz"},
	}},
}
