// Package rootfs makes the small files that programs expect in every root file
// system and that an image made from scratch lacks: users, name service, /tmp,
// /bin/sh, /usr/bin/env, CA certificates. Each preset is a tree of its own, for
// the caller to merge with the rest of the image.
//
// Guarantees:
//
//   - A preset is a tree in canonical order that starts with ".". It depends on
//     its arguments alone, except for caCertificates, which includes a file of
//     the host that the caller names.
//   - Everything is owned by 0:0, with time 0 and modes that are stated here,
//     whatever the umask.
//   - Directories above a preset's files are implied ones of mode 0755: any
//     other source decides what they look like.
//   - Input that would make a broken or dangerous file is refused: a passwd
//     line with a newline in it, a second root, a bundle that holds a private
//     key.
//
// Non-goals: resolving a base image's symlinks, setting passwords.
//
// The contents are those of nixpkgs' dockerTools: fakeNss, shadowSetup, binSh,
// usrBinEnv and caCertificates.
package rootfs

import (
	"fmt"

	"github.com/varve-image/varve/tree"
)

// tmp returns /tmp, writable for all with the sticky bit: mode 1777.
func tmp() ([]*tree.Entry, error) {
	return preset("preset tmp", tree.NewDir("tmp", 0o1777))
}

// preset makes a preset's tree: the entries and the directories above them. It is
// empty if lower layers have everything already.
func preset(source string, entries ...*tree.Entry) ([]*tree.Entry, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	for _, e := range entries {
		e.Source = source
	}
	all, err := tree.Complete(entries)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	return all, nil
}
