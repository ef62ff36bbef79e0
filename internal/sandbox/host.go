package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// HostFile is a file or directory of the machine that is visible to steps with HostTools.
type HostFile struct {
	// Path is its path, on the machine and in the sandbox: absolute, clean.
	Path string
	// Source is the path of the same file without symlinks.
	Source string
	// Link is set where Path is a symlink that leads to something visible: its text, with
	// which the link is made anew.
	Link string
}

// hostDirs returns the directories that programs need besides their own: libraries, data,
// other programs.
func hostDirs() []string {
	return []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store",
		"/etc/ld.so.cache", "/etc/alternatives"}
}

// HostView returns what steps with HostTools see of the machine: the directories tools and
// what the programs in them need, parents before their content. Whatever the machine does
// not have is left out.
func HostView(tools []string) ([]HostFile, error) {
	var view []HostFile
	for _, name := range append(hostDirs(), tools...) {
		name = path.Clean(name)
		if !path.IsAbs(name) || name == "/" {
			return nil, &RequestError{fmt.Errorf("directory of programs %q: want an absolute path below / in path, and a shell that is in a directory", name)}
		}
		if visible(view, name) {
			continue
		}
		f, err := hostFile(view, name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("directory of programs %q: %w", name, err)
		}
		if f.Source == "/" || inMachine(f.Source) {
			return nil, &RequestError{fmt.Errorf("directory of programs %q: it leads to %q, which steps may not see of the machine", name, f.Source)}
		}
		view = append(view, f)
	}
	return view, nil
}

func hostFile(view []HostFile, name string) (HostFile, error) {
	source, err := filepath.EvalSymlinks(name)
	if err != nil {
		return HostFile{}, err
	}
	f := HostFile{Path: name, Source: source}
	text, err := os.Readlink(name)
	if err != nil { // not a symlink
		return f, nil
	}
	target := text
	if !path.IsAbs(target) {
		target = path.Join(path.Dir(name), target)
	}
	if visible(view, path.Clean(target)) {
		f.Link = text
	}
	return f, nil
}

// visible reports whether name is in a directory of the view.
func visible(view []HostFile, name string) bool {
	for _, f := range view {
		if name == f.Path || f.Link == "" && strings.HasPrefix(name, f.Path+"/") {
			return true
		}
	}
	return false
}
