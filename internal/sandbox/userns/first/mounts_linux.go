//go:build amd64 || arm64

package first

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/userns/kernel"
	"github.com/varve-image/varve/internal/sandbox/userns/protocol"
)

// The directories in the working directory.
const (
	dirTree = "tree"
	dirRoot = "root" // where the new root directory is mounted
)

// mounts builds a step's file system.
type mounts struct {
	cfg *protocol.Config
	// prepared are file systems and parts of the machine's that are not attached yet.
	prepared []preparedMount
	// made are the mount points that were made in the tree, relative to it.
	made []string
}

// preparedMount describes a mount that is to be attached at target, a directory or a file.
type preparedMount struct {
	target string
	fd     int
	file   bool
	// strict says that target must not be reached through a symlink.
	strict bool
}

// prepare makes everything that needs the machine's own files, while these
// are still there.
func (m *mounts) prepare() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := m.fileSystem("/proc", "proc", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC, nil); err != nil {
		return kernel.Lack("mount a new /proc", err)
	}
	if err := m.prepareSys(); err != nil {
		return err
	}
	if err := m.prepareDev(); err != nil {
		return err
	}
	if m.cfg.Root == sandbox.HostTools {
		attrs := unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
		if err := m.fileSystem("/tmp", "tmpfs", attrs, map[string]string{"mode": "1777"}); err != nil {
			return err
		}
	}
	for _, f := range m.cfg.Host {
		if f.Link == "" {
			if err := m.bind(f.Source, f.Path); err != nil {
				return err
			}
		}
	}
	for _, b := range m.cfg.Binds {
		if err := m.bind(b.Source, b.Target); err != nil {
			return err
		}
	}
	if m.cfg.Network == sandbox.NetworkHost {
		for _, name := range protocol.NetworkFiles() {
			if _, err := os.Stat(name); err == nil {
				if err := m.bind(name, name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// prepareSys prepares /sys: the namespace's own, or an empty one where it has none.
func (m *mounts) prepareSys() error {
	attrs := unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_RDONLY
	if m.cfg.Network == sandbox.NetworkNone {
		if err := m.fileSystem("/sys", "sysfs", attrs, nil); err == nil {
			return nil
		}
	}
	return m.fileSystem("/sys", "tmpfs", attrs, map[string]string{"mode": "0555"})
}

// prepareDev prepares /dev with the devices that need no privilege: nodes of the machine,
// since new ones cannot be made here.
func (m *mounts) prepareDev() error {
	attrs := unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC
	if err := m.fileSystem("/dev", "tmpfs", attrs, map[string]string{"mode": "0755", "size": strconv.Itoa(1<<20 + len(m.cfg.Script)), "nr_inodes": "1000"}); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		fd, err := unix.OpenTree(unix.AT_FDCWD, "/dev/"+name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return kernel.Lack("show /dev/"+name, err)
		}
		// The mount does not affect what is written to a device, but protects its times and
		// mode.
		attr := unix.MountAttr{Attr_set: uint64(attrs) | unix.MOUNT_ATTR_RDONLY}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
			return kernel.Lack("show /dev/"+name+" read-only", err)
		}
		m.prepared = append(m.prepared, preparedMount{target: "/dev/" + name, fd: fd, file: true, strict: true})
	}
	attrs |= unix.MOUNT_ATTR_NODEV
	if err := m.fileSystem("/dev/shm", "tmpfs", attrs, map[string]string{"mode": "1777"}); err != nil {
		return err
	}
	return m.fileSystem("/dev/pts", "devpts", attrs&^unix.MOUNT_ATTR_NODEV, map[string]string{"newinstance": "", "ptmxmode": "0666", "mode": "0620"})
}

// fileSystem prepares a new file system.
func (m *mounts) fileSystem(target, kind string, attrs int, options map[string]string) error {
	fd, err := newFileSystem(kind, attrs, options)
	if err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	m.prepared = append(m.prepared, preparedMount{target: target, fd: fd, strict: true})
	return nil
}

func newFileSystem(kind string, attrs int, options map[string]string) (int, error) {
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	for key, value := range options {
		if value == "" {
			err = unix.FsconfigSetFlag(fs, key)
		} else {
			err = unix.FsconfigSetString(fs, key, value)
		}
		if err != nil {
			return -1, fmt.Errorf("%s %s=%s: %w", kind, key, value, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("%s: %w", kind, err)
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attrs)
}

// bind prepares a part of the machine's files, read-only.
func (m *mounts) bind(source, target string) error {
	fd, ok := m.cfg.Opened[source]
	if !ok {
		var err error
		if fd, err = kernel.CloneTree(source); err != nil {
			return fmt.Errorf("show %q in the sandbox: %w", source, err)
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("show %q in the sandbox: %w", source, err)
	}
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFDIR && kind != unix.S_IFREG {
		return fmt.Errorf("show %q in the sandbox: it is neither a directory nor a regular file", source)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		return kernel.Lack("show parts of the machine read-only", err)
	}
	m.prepared = append(m.prepared, preparedMount{target: target, fd: fd, file: kind == unix.S_IFREG})
	return nil
}

// enter makes the directory root, below the working directory, the root directory, and
// leaves nothing of the old one visible.
func enter(root string) error {
	if err := unix.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	// The old root lies on the new one now.
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the machine's files: %w", err)
	}
	return unix.Chdir("/")
}

// attach mounts what was prepared: from here on "/" is the sandbox's, and paths cannot lead
// out of it.
func (m *mounts) attach() error {
	for _, p := range m.prepared {
		at, err := m.mountPoint(p)
		if err == nil {
			err = unix.MoveMount(p.fd, "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
			unix.Close(at)
		}
		unix.Close(p.fd)
		if err != nil {
			return fmt.Errorf("%q in the sandbox: %w", p.target, err)
		}
		if p.target == "/dev" {
			if err := devLinks(); err != nil {
				return fmt.Errorf("/dev in the sandbox: %w", err)
			}
		}
	}
	return protect()
}

// detach unmounts what attach mounted, so that its mount points can be removed.
func (m *mounts) detach() {
	for _, p := range slices.Backward(m.prepared) {
		_ = unix.Unmount(p.target, unix.MNT_DETACH) // it may not be mounted
	}
}

func devLinks() error {
	for name, target := range map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := unix.Symlink(target, "/dev/"+name); err != nil {
			return err
		}
	}
	return nil
}

// mountPoint opens the mount point of p, and makes what is missing of it.
func (m *mounts) mountPoint(p preparedMount) (int, error) {
	at, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	parts := strings.Split(strings.TrimPrefix(p.target, "/"), "/")
	for i, name := range parts {
		last := i == len(parts)-1
		next, err := m.step(at, name, p, last)
		unix.Close(at)
		if err != nil {
			return -1, err
		}
		at = next
	}
	return at, nil
}

// step opens one part of a mount point's path.
func (m *mounts) step(at int, name string, p preparedMount, last bool) (int, error) {
	flags := unix.O_PATH | unix.O_CLOEXEC
	if p.strict || last {
		flags |= unix.O_NOFOLLOW
	}
	wantFile := last && p.file
	fd, err := unix.Openat(at, name, flags, 0)
	if err == unix.ENOENT {
		if err := m.makeMountPoint(at, name, p, wantFile); err != nil {
			return -1, err
		}
		fd, err = unix.Openat(at, name, flags|unix.O_NOFOLLOW, 0)
	}
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil {
		switch kind := st.Mode & unix.S_IFMT; {
		case kind == unix.S_IFLNK && wantFile && !p.strict:
			// The symlink itself is covered, wherever it leads: often its target does not
			// exist yet, such as a resolv.conf that a service of the machine writes.
		case kind == unix.S_IFLNK:
			err = fmt.Errorf("the tree has a symlink there, in %q, where %s has to be mounted: make it a directory, or leave it out", name, p.target)
		case wantFile && kind == unix.S_IFDIR:
			err = errors.New("the tree has a directory there, where a file has to be mounted: choose another place")
		case !wantFile && kind != unix.S_IFDIR:
			err = fmt.Errorf("the tree has something there that is not a directory, in %q, where %s has to be mounted: make it one, or leave it out", name, p.target)
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (m *mounts) makeMountPoint(at int, name string, p preparedMount, file bool) error {
	if file {
		fd, err := unix.Openat(at, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return err
		}
		unix.Close(fd)
	} else if err := unix.Mkdirat(at, name, 0o755); err != nil {
		return err
	}
	// /proc is mounted first, so that its links can be relied on.
	dir := "/"
	if p.target != "/proc" {
		var err error
		if dir, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", at)); err != nil {
			return err
		}
	}
	m.made = append(m.made, strings.TrimPrefix(path.Join(dir, name), "/"))
	return nil
}
