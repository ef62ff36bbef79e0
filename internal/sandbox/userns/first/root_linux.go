//go:build amd64 || arm64

package first

import (
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/userns/fakeroot"
	"github.com/varve-image/varve/internal/sandbox/userns/kernel"
	"github.com/varve-image/varve/internal/sandbox/userns/openat"
	"github.com/varve-image/varve/internal/sandbox/userns/worktree"
)

// setUp unpacks the tree and makes the file system that the step sees.
func (p *process) setUp() (*mounts, error) {
	m := &mounts{cfg: p.cfg}
	for _, name := range []string{dirTree, dirRoot} {
		if err := unix.Mkdir(name, 0o755); err != nil {
			return m, fmt.Errorf("make a directory for the tree: %w", err)
		}
	}
	tree, err := openat.Dir(unix.AT_FDCWD, dirTree)
	if err != nil {
		return m, err
	}
	defer unix.Close(tree)
	if p.records, err = fakeroot.NewRecords(p.cfg.FakeRoot); err != nil {
		return m, err
	}
	if p.written.Was, err = worktree.Extract(tree, p.tree, p.records); err != nil {
		return m, err
	}
	p.tree.Close()
	if err := p.gate.ready(); err != nil {
		return m, err
	}
	if err := m.prepare(); err != nil {
		return m, err
	}
	if p.cfg.Root == sandbox.HostTools {
		err = p.hostRoot(m)
	} else {
		err = p.imageRoot(m)
	}
	return m, err
}

// imageRoot makes the tree the root directory.
func (p *process) imageRoot(m *mounts) error {
	if err := p.bindTree(dirRoot); err != nil {
		return err
	}
	if err := enter(dirRoot); err != nil {
		return err
	}
	return m.attach()
}

// hostRoot makes a root directory that shows the machine's programs, and the tree at
// TreeDir.
func (p *process) hostRoot(m *mounts) error {
	fd, err := newFileSystem("tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, map[string]string{"mode": "0755"})
	if err != nil {
		return err
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, dirRoot, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return err
	}
	unix.Close(fd)
	tree := path.Join(dirRoot, sandbox.TreeDir)
	for _, name := range []string{tree, dirRoot + "/etc", dirRoot + "/tmp"} {
		if err := unix.Mkdir(name, 0o755); err != nil {
			return err
		}
	}
	if err := p.bindTree(tree); err != nil {
		return err
	}
	if err := enter(dirRoot); err != nil {
		return err
	}
	if err := m.attach(); err != nil {
		return err
	}
	if err := p.hostFiles(); err != nil {
		return err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	m.made = nil // none of these are in the tree
	return unix.MountSetattr(unix.AT_FDCWD, "/", 0, &attr)
}

// hostFiles makes the links of the machine's root directory, and the few files in which
// programs look up users and groups.
func (p *process) hostFiles() error {
	for _, f := range p.cfg.Host {
		if f.Link == "" {
			continue
		}
		if err := os.MkdirAll(path.Dir(f.Path), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(f.Link, f.Path); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	passwd := "root:x:0:0:root:" + sandbox.TreeDir + ":/bin/sh\n" +
		fmt.Sprintf("build:x:%d:%[1]d:build:%s:/bin/sh\n", sandbox.UserID, sandbox.TreeDir) +
		"nobody:x:65534:65534:nobody:/:/bin/false\n"
	group := fmt.Sprintf("root:x:0:\nbuild:x:%d:\nnogroup:x:65534:\n", sandbox.UserID)
	for name, text := range map[string]string{"passwd": passwd, "group": group, "hosts": "127.0.0.1 localhost\n::1 localhost\n"} {
		err := os.WriteFile("/etc/"+name, []byte(text), 0o644)
		if err != nil && !(name == "hosts" && p.cfg.Network == sandbox.NetworkHost) {
			return err
		}
	}
	return nil
}

// bindTree mounts the tree itself.
func (p *process) bindTree(target string) error {
	var err error
	if p.written.Dir, err = unix.OpenTree(unix.AT_FDCWD, dirTree, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC); err != nil {
		return kernel.Lack("mount its own files", err)
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, dirTree, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return kernel.Lack("mount its own files", err)
	}
	defer unix.Close(fd)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return kernel.Lack("mount its own files", err)
	}
	return unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
}
