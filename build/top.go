package build

import (
	"errors"
	"fmt"
	"strings"

	"github.com/varve-image/varve/rootfs"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// topTree makes the tree of the top layer: links to the files of contents,
// copies, presets.
func (b *builder) topTree(contents []content, outside []spec.Copy) ([]*tree.Entry, error) {
	s := b.spec
	sources, err := b.contentTrees(contents)
	if err != nil {
		return nil, err
	}
	copies, err := b.copies("contents", outside, s.KeepContentsDirlinks)
	more, moreErr := b.copies("copyToRoot", s.CopyToRoot, s.KeepContentsDirlinks)
	if err := errors.Join(err, moreErr); err != nil {
		return nil, err
	}
	sources = append(append(sources, copies...), more...)
	if b.opts.Files != nil {
		sources = append(sources, b.opts.Files)
	}
	return b.withPresets(sources)
}

// finishTop has the spec's scripts change the top tree, finds the store paths
// that are needed then, applies the perms, and puts the tree on the layers below.
func (b *builder) finishTop(contents []content, groups []*group, top []*tree.Entry) (_ []*tree.Entry, err error) {
	policy := conflicts(b.spec.Conflicts)
	if b.spec.RunAsRoot != "" {
		policy = tree.ConflictLast // the tree is on the layers below already
		if top, err = b.runAsRoot(top); err != nil {
			return nil, err
		}
	}
	if top, err = b.settleStore(contents, groups, top); err != nil {
		return nil, err
	}
	if err := applyPerms(top, b.spec.Perms); err != nil {
		return nil, specError("perms", err)
	}
	top, err = b.onto(top, policy)
	return top, specError("conflicts", err)
}

// contentTrees are the trees of contents: links to its files, or copies in an
// image of a single layer.
func (b *builder) contentTrees(contents []content) ([][]*tree.Entry, error) {
	if b.spec.Layering != spec.Single {
		join := make([]tree.JoinSource, len(contents))
		for i, c := range contents {
			physical, _, err := b.follow(c.path) // as lndir does
			if err != nil {
				return nil, specError(fmt.Sprintf("contents[%d]", i), err)
			}
			join[i] = tree.JoinSource{Logical: c.path, Physical: physical}
		}
		trees, err := tree.SymlinkJoin(b.ctx, join)
		return trees, specError("contents", err)
	}
	copies := make([]spec.Copy, len(contents))
	for i, c := range contents {
		copies[i].Source = c.path
	}
	return b.copies("contents", copies, b.spec.KeepContentsDirlinks)
}

// withPresets merges the sources with the presets, which are the weaker ones
// where the spec lets one source win.
func (b *builder) withPresets(sources [][]*tree.Entry) ([]*tree.Entry, error) {
	s := b.spec
	own, err := b.merge(s.KeepContentsDirlinks, append([][]*tree.Entry{rootDir()}, sources...)...)
	if err != nil {
		return nil, specError("conflicts", err)
	}
	var presets [][]*tree.Entry
	for i, p := range s.Presets {
		entries, err := b.preset(p, own)
		if err != nil {
			return nil, specError(fmt.Sprintf("presets[%d]: %s", i, p.Name), err)
		}
		presets = append(presets, entries)
	}
	// Own comes first under any policy, so that presets go through its symlinks;
	// no two presets have a file in common.
	policy := conflicts(s.Conflicts)
	if policy == tree.ConflictLast {
		policy = tree.ConflictFirst
	}
	opts := tree.MergeOptions{Conflicts: policy, KeepDirlinks: s.KeepContentsDirlinks}
	top, err := tree.Merge(b.ctx, opts, append([][]*tree.Entry{own}, presets...)...)
	return top, specError("conflicts", err)
}

// rootDir is the tree of a root directory alone.
func rootDir() []*tree.Entry {
	return []*tree.Entry{{Path: ".", Type: tree.Dir, Mode: 0o755, Implied: true}}
}

// preset makes the files of a preset for an image that has the tree own.
func (b *builder) preset(p spec.Preset, own []*tree.Entry) ([]*tree.Entry, error) {
	switch p.Name {
	case "nss":
		return rootfs.NSS(p.ExtraPasswdLines, p.ExtraGroupLines)
	case "shadow":
		// An image with the preset nss has its passwd and group from there.
		nss := b.hasPreset("nss")
		return rootfs.Shadow("", func(path string) bool {
			return b.visible(own, path) != nil || nss && (path == "etc/passwd" || path == "etc/group")
		})
	case "binSh":
		target, err := b.programFor(p.Path, own, "bin/bash", "bash")
		if err != nil {
			return nil, err
		}
		return rootfs.BinSh(target)
	case "usrBinEnv":
		target, err := b.programFor(p.Path, own, "bin/env", "coreutils")
		if err != nil {
			return nil, err
		}
		return rootfs.UsrBinEnv(target)
	case "caCertificates":
		bundle := b.physical(p.Path)
		if p.Path == "" {
			var err error
			if bundle, err = rootfs.HostBundle(); err != nil {
				return nil, &MissingError{err}
			}
			b.result.Notes = append(b.result.Notes, fmt.Sprintf("preset caCertificates: the image gets this machine's bundle %q; name one to get the same image everywhere", bundle))
		}
		return rootfs.CACertificates(bundle)
	case "tmp":
		return rootfs.Tmp(), nil
	}
	return nil, fmt.Errorf("%q is no preset", p.Name)
}

func (b *builder) hasPreset(name string) bool {
	for _, p := range b.spec.Presets {
		if p.Name == name {
			return true
		}
	}
	return false
}

// programFor is what a link to a program points at: what the spec says, or the
// program where the image has it.
func (b *builder) programFor(given string, own []*tree.Entry, program, packageName string) (string, error) {
	if given != "" {
		return given, nil
	}
	e := b.visible(own, program)
	switch {
	case e == nil:
		return "", fmt.Errorf("the image has no /%s: put %s into contents, or say what the link is to point at", program, packageName)
	case e.Type == tree.Symlink && strings.HasPrefix(e.Linkname, "/"):
		return e.Linkname, nil
	}
	return "/" + program, nil
}

// visible returns what the image has at path, through symlinks such as /bin: in
// the tree own, or in the layers below it.
func (b *builder) visible(own []*tree.Entry, path string) *tree.Entry {
	if e := tree.Lookup(own, path); e != nil {
		return e
	}
	return tree.Lookup(b.below, path)
}
