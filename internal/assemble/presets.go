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

// preset makes the files of a preset for an image that has the tree own. On the
// layers below it adds to what is there, or yields to it.
func (b *builder) preset(p spec.Preset, own []*tree.Entry) ([]*tree.Entry, error) {
	switch p.Name {
	case "nss":
		return b.addsToBelow(rootfs.NSS(p.ExtraPasswdLines, p.ExtraGroupLines, b.lower(own)))
	case "shadow":
		// An image with the preset nss has its passwd and group from there.
		nss := b.hasPreset("nss")
		return rootfs.Shadow("", func(path string) bool {
			return b.visible(own, path) != nil || nss && (path == "etc/passwd" || path == "etc/group")
		})
	case "binSh":
		return b.linkPreset(p, own, programLink{"bin/sh", "bin/bash", "bash", rootfs.BinSh})
	case "usrBinEnv":
		return b.linkPreset(p, own, programLink{"usr/bin/env", "bin/env", "coreutils", rootfs.UsrBinEnv})
	case "caCertificates":
		bundle := b.physical(p.Path)
		if p.Path == "" {
			var err error
			if bundle, err = rootfs.HostBundle(); err != nil {
				return nil, &MissingError{err}
			}
			b.result.Notes = append(b.result.Notes, fmt.Sprintf("preset caCertificates: the image gets this machine's bundle %q; name one to get the same image everywhere", bundle))
		}
		return b.addsToBelow(rootfs.CACertificates(bundle, b.lower(own)))
	case "tmp":
		return rootfs.Tmp()
	}
	return nil, fmt.Errorf("%q is no preset", p.Name)
}

// presetError tells what the layers below hold from what the spec says.
func presetError(err error) error {
	var lower *rootfs.LowerError
	if errors.As(err, &lower) {
		return &dataError{err}
	}
	return err
}

// lower is what presets add to, where the image has the tree own.
func (b *builder) lower(own []*tree.Entry) rootfs.Lower {
	return rootfs.Lower{
		Entries: b.below,
		Covered: func(path string) bool { return tree.Lookup(own, path) != nil },
		Store:   strings.TrimPrefix(b.spec.StoreDir, "/"),
	}
}

// addsToBelow notes that files of a preset hold what explicit layers have in
// their place, so that they are no conflict with it.
func (b *builder) addsToBelow(entries []*tree.Entry, err error) ([]*tree.Entry, error) {
	added := map[string]bool{}
	for _, e := range entries {
		added[e.Path] = e.Type == tree.Regular
		if below := tree.Find(b.below, e.Path); added[e.Path] && below != nil {
			b.debugf("%s: adding to /%s of the layers below: %d bytes to %d", e.Source, e.Path, e.Size-below.Size, below.Size)
		}
	}
	b.own = slices.DeleteFunc(slices.Clone(b.own), func(e *tree.Entry) bool { return added[e.Path] })
	return entries, err
}

func (b *builder) hasPreset(name string) bool {
	return slices.ContainsFunc(b.spec.Presets, func(p spec.Preset) bool { return p.Name == name })
}

// programLink is a preset that makes a link to a program.
type programLink struct {
	path string
	// program is what is linked to by default, and packageName what has it.
	program, packageName string
	make                 func(target string) ([]*tree.Entry, error)
}

// linkPreset makes a link to what the spec says, or to the program where the
// image has it. The link of a lower layer stays, unless the spec says what it is
// to point at.
func (b *builder) linkPreset(p spec.Preset, own []*tree.Entry, l programLink) ([]*tree.Entry, error) {
	below := tree.Lookup(b.below, l.path)
	if below == nil || tree.Lookup(own, l.path) != nil {
		target, err := b.programFor(p.Path, own, l)
		if err != nil {
			return nil, err
		}
		return l.make(target)
	}
	if p.Path == "" || below.Linkname == p.Path {
		return nil, nil
	}
	b.warnf("preset %s: /%s of the layers below is replaced by a link to %q; without an argument the preset leaves it as it is", p.Name, l.path, p.Path)
	return l.make(p.Path)
}

// programFor is what a link to a program points at: what the spec says, or the
// program where the image has it.
func (b *builder) programFor(given string, own []*tree.Entry, l programLink) (string, error) {
	if given != "" {
		return given, nil
	}
	e := b.visible(own, l.program)
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
func (b *builder) visible(own []*tree.Entry, path string) *tree.Entry {
	if e := tree.Lookup(own, path); e != nil {
		return e
	}
	return tree.Lookup(b.below, path)
}
