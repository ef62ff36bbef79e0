// Package nixstore reads the records of a Nix store: the names of store paths,
// and which paths a path refers to.
//
// Guarantees:
//
//   - A closure that a reader of this package returns is complete: every path
//     lies in the store directory and has a legal name, no path is listed
//     twice, and every reference is to a path of the closure. All faults are
//     reported together, by name.
//   - Input is limited: a reference graph to 64 MiB, a registration to
//     512 MiB. A scan holds one buffer of 1 MiB per worker, whatever the size
//     of the files.
//   - A scan sees a store path as Nix does: it follows no symlink below it and
//     opens no FIFO, socket or device. A file that changes or vanishes
//     meanwhile is an error that names it.
//   - The same input gives the same nodes in the same order.
//
// Non-goals: evaluating, building or fetching anything, and cycles of
// references, which package layering reports.
package nixstore

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// DefaultStoreDir is used if a store directory is empty.
const DefaultStoreDir = "/nix/store"

const (
	// hashLen is the length of a store path's hash part: 20 bytes in base 32.
	hashLen = 32
	// maxNameLen keeps "<hash>-<name>.lock.chroot" within a file name of 255
	// bytes; it is Nix's own limit.
	maxNameLen = 211
)

// StorePath is the last component of a store path: everything but the store
// directory.
type StorePath struct {
	// Hash is the hash part: 32 digits of Nix's base 32.
	Hash string
	// Name is what follows the hash part and its dash, such as "hello-2.12".
	Name string
}

// String returns the path's name in the store directory.
func (p StorePath) String() string { return p.Hash + "-" + p.Name }

// ParsePath reads p, the absolute name of a store path itself: storeDir, a
// slash, 32 base-32 digits, a dash and a name of 1 to 211 characters out of
// A-Z a-z 0-9 + - . _ ? =, other than "." and "..". An empty storeDir stands
// for DefaultStoreDir. The error quotes p.
//
// Source: "Store path" in the Nix manual. Names that start with a dot were
// legal in some versions of Nix only, and exist in old databases.
func ParsePath(storeDir, p string) (StorePath, error) {
	dir, err := cleanStoreDir(storeDir)
	if err != nil {
		return StorePath{}, err
	}
	return parsePath(dir, p)
}

// InStore finds the store path that p, an absolute path, is or lies inside of.
// rest is what p adds to it, without a slash at either end; it is empty if p
// is the store path. Repeated slashes and "." components are ignored. ok is
// false outside the store, for an illegal store path, and for any p with a ".."
// component, because where that leads depends on symlinks.
func InStore(storeDir, p string) (storePath, rest string, ok bool) {
	dir, err := cleanStoreDir(storeDir)
	if err != nil {
		return "", "", false
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." {
			return "", "", false
		}
	}
	below, ok := strings.CutPrefix(path.Clean(p), dir+"/")
	if !ok {
		return "", "", false
	}
	base, rest, _ := strings.Cut(below, "/")
	if _, err := parseBase(base); err != nil {
		return "", "", false
	}
	return dir + "/" + base, rest, true
}

// parsePath is ParsePath for a store directory that is already clean.
func parsePath(dir, p string) (StorePath, error) {
	base, ok := strings.CutPrefix(p, dir)
	if ok {
		base, ok = strings.CutPrefix(base, "/")
	}
	if !ok {
		return StorePath{}, fmt.Errorf("%.300q is not in the store %q", p, dir)
	}
	sp, err := parseBase(base)
	if err != nil {
		return StorePath{}, fmt.Errorf("%.300q is not a store path: %w", p, err)
	}
	return sp, nil
}

// parseBase reads the name of an entry of a store directory.
func parseBase(base string) (StorePath, error) {
	if len(base) < hashLen {
		return StorePath{}, fmt.Errorf("it does not begin with a hash part of %d characters", hashLen)
	}
	hash, name := base[:hashLen], base[hashLen:]
	for i := range len(hash) {
		if digitValue[hash[i]] == notDigit {
			return StorePath{}, fmt.Errorf("%q in its hash part is not a digit of Nix's base 32", hash[i:i+1])
		}
	}
	name, ok := strings.CutPrefix(name, "-")
	if !ok {
		return StorePath{}, errors.New("no dash follows its hash part")
	}
	if err := checkName(name); err != nil {
		return StorePath{}, err
	}
	return StorePath{Hash: hash, Name: name}, nil
}

func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("its name is empty")
	case name == "." || name == "..":
		return fmt.Errorf("its name is %q", name)
	case len(name) > maxNameLen:
		return fmt.Errorf("its name has %d characters, more than %d", len(name), maxNameLen)
	}
	for i := range len(name) {
		if !isNameByte(name[i]) {
			return fmt.Errorf("its name holds %q", name[i:i+1])
		}
	}
	return nil
}

func isNameByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("+-._?=", c) >= 0
}

// cleanStoreDir returns storeDir without a trailing slash, or the default.
func cleanStoreDir(storeDir string) (string, error) {
	if storeDir == "" {
		return DefaultStoreDir, nil
	}
	dir := path.Clean(storeDir)
	if dir == "/" || !path.IsAbs(dir) || strings.Contains("/"+storeDir+"/", "/../") {
		return "", fmt.Errorf("store directory %.300q: want an absolute path below / without \"..\", such as %s", storeDir, DefaultStoreDir)
	}
	return dir, nil
}
