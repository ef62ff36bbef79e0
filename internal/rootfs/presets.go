package rootfs

import (
	"fmt"
	"maps"
	"slices"

	"github.com/varve-image/varve/tree"
)

// Request is what an image asks of a preset, and what the preset may look at.
type Request struct {
	// Path is the preset's argument if that is a path or the text of a symlink;
	// empty means the preset's default.
	Path string
	// PasswdLines and GroupLines are extra lines for the lists of users and groups.
	PasswdLines, GroupLines []string
	// Own is the tree of the image's own files, which a preset yields to.
	Own []*tree.Entry
	// Lower is the file system below. Make sets its Covered, by Own.
	Lower Lower
	// Presets are the names of all presets of the image.
	Presets []string
	// Physical returns where this machine has the file that the spec calls path; nil
	// means under that name.
	Physical func(path string) string
}

// Files is what a preset makes.
type Files struct {
	// Entries is a tree; none if the image and the layers below have everything.
	Entries []*tree.Entry
	// Extends says that the files contain those of the layers below at the same
	// paths, so that replacing these is not a conflict.
	Extends bool
	// Warnings say what is most likely a mistake, and Notes what a user may want to
	// know.
	Warnings, Notes []string
}

// presets is the table of presets. Package spec has the one of their arguments.
var presets = map[string]func(Request) (Files, error){
	"nss": func(r Request) (Files, error) {
		entries, err := nss(r.PasswdLines, r.GroupLines, r.Lower)
		return Files{Entries: entries, Extends: true}, err
	},
	"shadow": func(r Request) (Files, error) {
		// An image with the preset nss takes its passwd and group from there.
		lists := slices.Contains(r.Presets, "nss")
		entries, err := shadow("", func(path string) bool {
			return r.visible(path) != nil || lists && (path == "etc/passwd" || path == "etc/group")
		})
		return Files{Entries: entries}, err
	},
	"binSh":          programLink{"binSh", "bin/sh", "bin/bash", "bash"}.files,
	"usrBinEnv":      programLink{"usrBinEnv", "usr/bin/env", "bin/env", "coreutils"}.files,
	"caCertificates": authorityFiles,
	"tmp": func(Request) (Files, error) {
		entries, err := tmp()
		return Files{Entries: entries}, err
	},
}

// Names returns the names of all presets, sorted.
func Names() []string { return slices.Sorted(maps.Keys(presets)) }

// Make makes the files of the preset with a name. A *LowerError blames the layers
// below, and a *lack.Error this machine.
func Make(name string, r Request) (Files, error) {
	files, ok := presets[name]
	if !ok {
		return Files{}, fmt.Errorf("%q is not a preset", name)
	}
	r.Lower.Covered = func(path string) bool { return tree.Lookup(r.Own, path) != nil }
	return files(r)
}

// visible returns what the image has at path, through symlinks such as /bin: of its
// own, or in the layers below.
func (r Request) visible(path string) *tree.Entry {
	if e := tree.Lookup(r.Own, path); e != nil {
		return e
	}
	return tree.Lookup(r.Lower.Entries, path)
}

// authorityFiles takes this machine's bundle if the spec names none.
func authorityFiles(r Request) (Files, error) {
	files, bundle := Files{Extends: true}, r.Path
	var err error
	switch {
	case bundle == "":
		if bundle, err = hostBundle(); err != nil {
			return Files{}, err
		}
		files.Notes = []string{fmt.Sprintf("preset caCertificates: the image gets this machine's bundle %q; name one to get the same image everywhere", bundle)}
	case r.Physical != nil:
		bundle = r.Physical(bundle)
	}
	files.Entries, err = caCertificates(bundle, r.Lower)
	return files, err
}
