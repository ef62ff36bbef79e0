package assemble

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/varve-image/varve/internal/rootfs"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// preset makes the files of a preset for an image that has the tree own. It adds to
// the layers below, or yields to them.
func (b *builder) preset(below stack, p spec.Preset, own []*tree.Entry) ([]*tree.Entry, error) {
	switch p.Name {
	case "nss":
		return rootfs.NSS(p.ExtraPasswdLines, p.ExtraGroupLines, b.lower(below, own))
	case "shadow":
		// An image with the preset nss takes its passwd and group from there.
		nss := b.hasPreset("nss")
		return rootfs.Shadow("", func(path string) bool {
			return below.visible(own, path) != nil || nss && (path == "etc/passwd" || path == "etc/group")
		})
	case "binSh":
		return b.linkPreset(below, p, own, programLink{"bin/sh", "bin/bash", "bash", rootfs.BinSh})
	case "usrBinEnv":
		return b.linkPreset(below, p, own, programLink{"usr/bin/env", "bin/env", "coreutils", rootfs.UsrBinEnv})
	case "caCertificates":
		bundle := b.physical(p.Path)
		if p.Path == "" {
			var err error
			if bundle, err = rootfs.HostBundle(); err != nil {
				return nil, &MissingError{err}
			}
			b.notes = append(b.notes, fmt.Sprintf("preset caCertificates: the image gets this machine's bundle %q; name one to get the same image everywhere", bundle))
		}
		return rootfs.CACertificates(bundle, b.lower(below, own))
	case "tmp":
		return rootfs.Tmp()
	}
	return nil, fmt.Errorf("%q is no preset", p.Name)
}

// presetError blames an error in the layers below on their data instead of the spec.
func presetError(err error) error {
	var lower *rootfs.LowerError
	if errors.As(err, &lower) {
		return &dataError{err}
	}
	return err
}

// lower returns what presets add to, if the image has the tree own.
func (b *builder) lower(below stack, own []*tree.Entry) rootfs.Lower {
	return rootfs.Lower{
		Entries: below.entries,
		Covered: func(path string) bool { return tree.Lookup(own, path) != nil },
		Store:   strings.TrimPrefix(b.spec.StoreDir, "/"),
	}
}

// extendsBelow reports whether a preset's files contain the files of the layers
// below at the same paths, so that replacing those is not a conflict.
func extendsBelow(p spec.Preset) bool { return p.Name == "nss" || p.Name == "caCertificates" }

// tellExtended reports, for debugging, the files that a preset adds to.
func (b *builder) tellExtended(below stack, entries []*tree.Entry) {
	for _, e := range entries {
		if there := below.find(e.Path); e.Type == tree.Regular && there != nil {
			b.debugf("%s: adding to /%s of the layers below: %d bytes to %d", e.Source, e.Path, e.Size-there.Size, there.Size)
		}
	}
}

func (b *builder) hasPreset(name string) bool {
	return slices.ContainsFunc(b.spec.Presets, func(p spec.Preset) bool { return p.Name == name })
}

// programLink is a preset that makes a link to a program.
type programLink struct {
	path string
	// program is the default target, and packageName the package that has it.
	program, packageName string
	make                 func(target string) ([]*tree.Entry, error)
}

// linkPreset makes a link to what the spec says, or to the program if the image has
// it. A lower layer's link stays, unless the spec gives a target.
func (b *builder) linkPreset(below stack, p spec.Preset, own []*tree.Entry, l programLink) ([]*tree.Entry, error) {
	there := tree.Lookup(below.entries, l.path)
	if there == nil || tree.Lookup(own, l.path) != nil {
		target, err := programFor(below, p.Path, own, l)
		if err != nil {
			return nil, err
		}
		return l.make(target)
	}
	if p.Path == "" || there.Linkname == p.Path {
		return nil, nil
	}
	b.warnf("preset %s: /%s of the layers below is replaced by a link to %q; without an argument the preset leaves it as it is", p.Name, l.path, p.Path)
	return l.make(p.Path)
}

// programFor returns the target of a link to a program: what the spec says, or the
// program if the image has it.
func programFor(below stack, given string, own []*tree.Entry, l programLink) (string, error) {
	if given != "" {
		return given, nil
	}
	e := below.visible(own, l.program)
	switch {
	case e == nil:
		return "", fmt.Errorf("the image has no /%s: put %s into contents, or say what the link is to point at", l.program, l.packageName)
	case e.Type == tree.Symlink && strings.HasPrefix(e.Linkname, "/"):
		return e.Linkname, nil
	}
	return "/" + l.program, nil
}

// visible returns what the image has at path, through symlinks such as /bin: in
// the tree own, or in the layers below it.
func (s stack) visible(own []*tree.Entry, path string) *tree.Entry {
	if e := tree.Lookup(own, path); e != nil {
		return e
	}
	return tree.Lookup(s.entries, path)
}
