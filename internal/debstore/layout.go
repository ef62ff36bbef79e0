package debstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// layOut copies a package's files to path, unless it exists, and returns the size
// of its content.
func layOut(ctx context.Context, name, path string) (int64, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = create(ctx, name, path)
	}
	if err != nil {
		return 0, fmt.Errorf("lay out package %s: %w", name, err)
	}
	return size(path)
}

// create makes path under another name and renames it. If another process was
// faster, its result is as good.
func create(ctx context.Context, name, path string) (err error) {
	tmp, err := os.MkdirTemp(filepath.Dir(path), ".debstore-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, remove(tmp))
		}
	}()
	files, err := fileList(ctx, name)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(tmp)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, file := range files {
		if err := copyFile(root, file); err != nil {
			return err
		}
	}
	if err := seal(tmp); err != nil {
		return err
	}
	err = os.Rename(tmp, path)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		return remove(tmp)
	}
	return err
}

// fileList returns the absolute paths that dpkg lists for a package, with
// /bin, /lib and the like moved to where they are on a merged /usr.
func fileList(ctx context.Context, name string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "dpkg-query", "-L", name).Output()
	if err != nil {
		return nil, fmt.Errorf("list files with dpkg-query: %w", err)
	}
	lines := strings.Split(string(out), "\n")
	slices.Sort(lines)
	var files []string
	for _, file := range lines {
		if !strings.HasPrefix(file, "/") || file == "/." {
			continue
		}
		first, _, _ := strings.Cut(file[1:], "/")
		switch first {
		case "bin", "sbin", "lib", "lib32", "lib64", "libx32":
			file = "/usr" + file
		}
		files = append(files, file)
	}
	return files, nil
}

// copyFile copies the machine's file to the same place below root. It skips a file
// that is missing, exists already, or would lead out of root through one of the
// package's links.
func copyFile(root *os.Root, file string) error {
	info, err := os.Lstat(file)
	if err != nil {
		return nil // listed, but removed since, as in slimmed images
	}
	name := file[1:]
	if info.IsDir() {
		return root.MkdirAll(name, 0o755)
	}
	if _, err := root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return nil // it exists already, or its path leads out
	}
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	switch info.Mode().Type() {
	case fs.ModeSymlink:
		target, err := os.Readlink(file)
		if err != nil {
			return err
		}
		return root.Symlink(target, name)
	case 0:
		mode := fs.FileMode(0o444)
		if info.Mode()&0o111 != 0 {
			mode = 0o555
		}
		return copyContent(root, name, file, mode)
	}
	return nil
}

func copyContent(root *os.Root, name, file string, mode fs.FileMode) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Chmod(mode), out.Close())
}

// seal gives directories their mode and everything the time 1.
func seal(path string) error {
	var all []string
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		all = append(all, p)
		if err == nil && d.IsDir() {
			err = os.Chmod(p, 0o555)
		}
		return err
	})
	if err != nil {
		return err
	}
	second := unix.NsecToTimespec(1e9)
	for _, p := range all {
		err := unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{second, second}, unix.AT_SYMLINK_NOFOLLOW)
		if err != nil {
			return fmt.Errorf("set time of %q: %w", p, err)
		}
	}
	return nil
}

// remove removes a tree whose directories may be sealed.
func remove(path string) error {
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(p, 0o755) // before the directory is read
		}
		return err
	})
	return errors.Join(err, os.RemoveAll(path))
}

// size returns the size in bytes of all files below path, and of all links except
// those that lead to a directory of this machine.
func size(path string) (int64, error) {
	var total int64
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if target, err := os.Stat(p); err == nil && target.IsDir() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		total += info.Size()
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure store path: %w", err)
	}
	return total, nil
}
