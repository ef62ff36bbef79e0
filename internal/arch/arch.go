// Package arch translates names of machines: Go's (GOARCH), which the OCI image
// specification uses, and others (uname -m, Nix, Debian, Docker Hub).
//
// Guarantees: one table for all of varve; a name that is not in it is unknown, and
// never means the machine that varve runs on.
package arch

import (
	"maps"
	"slices"
)

// machine is a GOARCH, and the variant that a name implies; empty for none.
type machine struct{ goarch, variant string }

// names maps other names for machines that run Linux to Go's. nix/lib.nix has Nix's names.
var names = map[string]machine{
	"x86_64": {"amd64", ""}, "x86-64": {"amd64", ""}, "x64": {"amd64", ""},
	"aarch64": {"arm64", ""}, "arm64v8": {"arm64", ""}, "armv8": {"arm64", ""},
	"i386": {"386", ""}, "i486": {"386", ""}, "i586": {"386", ""}, "i686": {"386", ""}, "x86": {"386", ""},
	"armv5": {"arm", "v5"}, "armv5l": {"arm", "v5"}, "armv5tel": {"arm", "v5"},
	"armv6": {"arm", "v6"}, "armv6l": {"arm", "v6"}, "armel": {"arm", "v6"},
	"armv7": {"arm", "v7"}, "armv7l": {"arm", "v7"}, "armv7a": {"arm", "v7"}, "armhf": {"arm", "v7"},
	"mipsel": {"mipsle", ""}, "mips64el": {"mips64le", ""},
	"powerpc64": {"ppc64", ""}, "powerpc64le": {"ppc64le", ""}, "ppc64el": {"ppc64le", ""},
	"loongarch64": {"loong64", ""},
}

// All returns Go's names of the machines that run Linux, sorted.
func All() []string {
	return []string{
		"386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle",
		"ppc64", "ppc64le", "riscv64", "s390x",
	}
}

// Aliases returns the other names that Lookup knows, sorted.
func Aliases() []string { return slices.Sorted(maps.Keys(names)) }

// Lookup returns Go's name for a machine, and the variant that the given name
// implies, if any. Go's own names are returned unchanged; ok is false for unknown
// names.
func Lookup(name string) (goarch, variant string, ok bool) {
	if slices.Contains(All(), name) {
		return name, "", true
	}
	m, ok := names[name]
	return m.goarch, m.variant, ok
}
