// Package goldenstore makes the small Nix-like store from which the golden test
// data of the layer and archive formats was taken.
//
// Guarantees:
//
//   - The tree is the same on every machine, for every user and umask: names,
//     content, modes, link targets and times. Its owner is whoever made it.
//   - It contains everything tricky that a layer writer meets: files that fill
//     tar blocks exactly, names at tar's length limits, names that are not
//     UTF-8, hard links within a store path and across two, store paths that
//     are a file or a symlink.
//
// Non-goals: the modes of a real store. Directories stay 0755 so that the tree
// can be removed again. A file system that requires UTF-8 names cannot hold it.
//
// Only tests import this package.
package goldenstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// alphabet is Nix's base32: no e, o, t, u.
const alphabet = "0123456789abcdfghijklmnpqrsvwxyz"

// StoreDir is where the store is below the root, and the beginning of its paths.
const StoreDir = "/nix/store"

// Make makes the golden store below root, which it creates: root/nix/store with the
// store paths, root/nix/images, which is empty, and root/nix/top, the tree that the
// top layer's tar was made from. It returns the store paths, sorted, without the
// root.
func Make(root string) ([]string, error) {
	m := &maker{root: root}
	for _, dir := range []string{StoreDir, "/nix/images"} {
		m.dir(dir)
	}
	m.application()
	m.order()
	m.names()
	m.hardLinks()
	m.topLayer()
	m.stamp()
	if m.err != nil {
		return nil, fmt.Errorf("make golden store: %w", m.err)
	}
	entries, err := os.ReadDir(filepath.Join(root, StoreDir))
	if err != nil {
		return nil, fmt.Errorf("make golden store: %w", err)
	}
	var paths []string
	for _, e := range entries {
		paths = append(paths, StoreDir+"/"+e.Name())
	}
	slices.Sort(paths)
	return paths, nil
}

// Path returns the store path called name, such as "app-1.0".
func Path(name string) string {
	digest := sha256.Sum256([]byte("golden:" + name))
	return StoreDir + "/" + base32(digest[:20]) + "-" + name
}

// base32 writes 20 bytes, a little-endian number, as 32 digits of 5 bits.
func base32(b []byte) string {
	be := slices.Clone(b)
	slices.Reverse(be)
	n := new(big.Int).SetBytes(be)
	var digits [32]byte
	for i := range digits {
		digits[i] = alphabet[new(big.Int).Rsh(n, uint(5*(31-i))).Uint64()&31]
	}
	return string(digits[:])
}

// noise returns size bytes that hardly compress, a function of name.
func noise(name string, size int) string {
	var out bytes.Buffer
	block := sha256.Sum256([]byte(name))
	for out.Len() < size {
		out.Write(block[:])
		block = sha256.Sum256(block[:])
	}
	return out.String()[:size]
}

// maker writes files below root. After an error it does nothing more.
type maker struct {
	root string
	err  error
}

func (m *maker) do(f func() error) {
	if m.err == nil {
		m.err = f()
	}
}

func (m *maker) dir(path string) {
	m.do(func() error { return os.MkdirAll(m.root+path, 0o755) })
}

func (m *maker) file(path, data string, mode os.FileMode) {
	m.dir(filepath.Dir(path))
	m.do(func() error { return os.WriteFile(m.root+path, []byte(data), 0o644) })
	m.do(func() error { return os.Chmod(m.root+path, mode) })
}

func (m *maker) symlink(path, target string) {
	m.dir(filepath.Dir(path))
	m.do(func() error { return os.Symlink(target, m.root+path) })
}

func (m *maker) hardLink(path, target string) {
	m.dir(filepath.Dir(path))
	m.do(func() error { return os.Link(m.root+target, m.root+path) })
}

// application makes a program with two libraries, a store path that is a file, and
// one that is a symlink.
func (m *maker) application() {
	p := Path("libc-2.39")
	m.file(p+"/lib/libc.so.6", noise("libc", 1_500_000), 0o555)
	m.symlink(p+"/lib/libc.so", "libc.so.6")
	m.file(p+"/share/empty", "", 0o444)
	m.dir(p + "/var/empty")
	p = Path("openssl-3.0.14")
	m.file(p+"/lib/libssl.so.3", noise("ssl", 300_001), 0o555)
	m.file(p+"/etc/ssl/openssl.cnf", "# "+Path("libc-2.39")+"\n", 0o444)
	p = Path("app-1.0")
	m.file(p+"/bin/app", "#!/bin/sh\necho hello from app\n", 0o555)
	m.file(p+"/share/doc/README", noise("readme", 511), 0o444)
	m.file(p+"/share/doc/README.1", noise("readme1", 512), 0o444)
	m.file(p+"/share/doc/README.2", noise("readme2", 513), 0o444)
	m.file(Path("config.json"), "{\"hello\": true}\n", 0o444)
	m.symlink(Path("app-link"), Path("app-1.0"))
}

// order makes names that sort differently by path component and by the whole path's
// bytes.
func (m *maker) order() {
	p := Path("order")
	m.file(p+"/a/b/leaf", "leaf\n", 0o444)
	for _, name := range []string{"a-b", "a.b", "a b", "ab", "A", "a/b-c/d", "a/b.c", "~", "_"} {
		m.file(p+"/"+name, name+"\n", 0o444)
	}
}

// names makes names at tar's limits of 100, 155 and 256 bytes, and in many
// character sets.
func (m *maker) names() {
	p := Path("names")
	for i, name := range []string{
		strings.Repeat("n", 50),
		strings.Repeat("d", 60) + "/" + strings.Repeat("f", 90),
		strings.Repeat("x", 120) + "/" + strings.Repeat("y", 150),
		strings.Repeat("z", 255),
		"héllo wörld.txt",
		"日本語/ファイル",
		"not-utf8-\xff\xfe",
		"new\nline",
		" lead and trail ",
		"back\\slash\"quote'",
	} {
		m.file(p+"/"+name, fmt.Sprint(i+1), 0o444)
	}
	m.symlink(p+"/long-link", StoreDir+"/"+strings.Repeat("t", 130))
	m.symlink(p+"/link-é", "ziel-ü")
	m.symlink(p+"/link-not-utf8", "\xff")
}

func (m *maker) hardLinks() {
	p := Path("hardlinks")
	m.file(p+"/one", noise("hard", 10_000), 0o444)
	m.hardLink(p+"/two", p+"/one")
	m.hardLink(Path("hardlinks-too")+"/three", p+"/one")
}

// topLayer makes the top layer as nixpkgs passes it on: a directory with a tar and
// its checksum.
func (m *maker) topLayer() {
	app := Path("app-1.0") + "/bin/app"
	m.symlink("/nix/top/bin/app", app)
	m.file("/nix/top/etc/motd", "golden\n", 0o444)
	m.dir("/nix/top/tmp")
	tar := topTar(app)
	digest := sha256.Sum256(tar)
	p := Path("top-customisation-layer")
	m.file(p+"/layer.tar", string(tar), 0o644)
	m.file(p+"/checksum", hex.EncodeToString(digest[:])+"\n", 0o444)
}

// stamp gives everything the time 1 and every directory its mode, whatever the umask was.
func (m *maker) stamp() {
	var dirs []string
	m.do(func() error {
		return filepath.WalkDir(m.root, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
				return nil
			}
			return firstError(err, func() error { return touch(path) })
		})
	})
	for _, dir := range slices.Backward(dirs) {
		mode := os.FileMode(0o755)
		if dir == m.root+"/nix/top/tmp" {
			mode = 0o777 | os.ModeSticky
		}
		m.do(func() error { return os.Chmod(dir, mode) })
		m.do(func() error { return touch(dir) })
	}
}

func firstError(err error, f func() error) error {
	if err != nil {
		return err
	}
	return f()
}

// touch sets the times of path to 1; of a symlink, those of the link itself.
func touch(path string) error {
	second := unix.NsecToTimespec(1e9)
	err := unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{second, second}, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return fmt.Errorf("set time of %q: %w", path, err)
	}
	return nil
}
