package rootfs

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/varve-image/varve/tree"
)

// maxLink is the longest symlink target that Linux allows: PATH_MAX includes the
// NUL, symlink(2).
const maxLink = 4095

// BinSh returns /bin/sh as a symlink to target, such as /nix/store/…-bash-5.2/bin/bash.
func BinSh(target string) ([]*tree.Entry, error) {
	return symlink("preset binSh", "bin/sh", target)
}

// UsrBinEnv returns /usr/bin/env as a symlink to target, such as
// /nix/store/…-coreutils-9.5/bin/env.
func UsrBinEnv(target string) ([]*tree.Entry, error) {
	return symlink("preset usrBinEnv", "usr/bin/env", target)
}

func symlink(source, name, target string) ([]*tree.Entry, error) {
	if err := checkTarget(name, target); err != nil {
		return nil, fmt.Errorf("%s: target %s: %w", source, shorten(target), err)
	}
	return preset(source, tree.NewSymlink(name, target))
}

func checkTarget(name, target string) error {
	switch {
	case target == "":
		return errors.New("is empty: name the program that it should point to")
	case len(target) > maxLink:
		return fmt.Errorf("has %d bytes; a symlink holds at most %d", len(target), maxLink)
	case strings.Contains(target, "\x00"):
		return errors.New("holds a NUL byte")
	}
	resolved := target
	if !path.IsAbs(target) {
		resolved = path.Join("/", path.Dir(name), target)
	}
	if path.Clean(resolved) == "/"+name {
		return fmt.Errorf("is /%s itself", name)
	}
	return nil
}

// shorten quotes a string for a message and cuts one that would fill a screen.
func shorten(s string) string {
	const limit = 200
	if len(s) > limit {
		return fmt.Sprintf("%q…", s[:limit])
	}
	return fmt.Sprintf("%q", s)
}
