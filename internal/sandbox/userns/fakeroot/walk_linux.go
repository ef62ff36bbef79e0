//go:build amd64 || arm64

package fakeroot

import (
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/openat"
)

// place is where a path leads: a name in a directory, with the file there, if it exists. If
// a path does not end in a name, such as "/" or "..", dir is also the directory that it
// leads to.
type place struct {
	dir  *file
	name string
	file *file
}

func (p *place) close() {
	if p.dir != nil {
		p.dir.close()
	}
	if p.file != nil {
		p.file.close()
	}
}

// walker resolves a path for a caller part by part: as the kernel would with the caller's
// root directory, open files and owner.
type walker struct {
	c    *call
	who  credentials
	root *file
	at   *file
	// rest is the remaining path.
	rest   string
	follow bool
	links  int
	// start is the directory that a path must not leave with RESOLVE_BENEATH.
	start   key
	resolve uint64
}

// maxLinks is how many symlinks the kernel follows.
const maxLinks = 40

// walk resolves a path, including its last part if follow is set, under the conditions of
// openat2(2).
func (c *call) walk(dirfd int, name string, follow bool, resolve uint64) (p place, err error) {
	w := &walker{c: c, who: c.who(), rest: name, follow: follow, resolve: resolve}
	if err := w.begin(dirfd); err != nil {
		return place{}, err
	}
	defer w.root.close()
	if p, err = w.walk(); err != nil {
		w.at.close()
	}
	return p, err
}

// begin opens the root directory, and where the path starts.
func (w *walker) begin(dirfd int) (err error) {
	root := w.c.proc("root")
	inRoot := w.resolve&unix.RESOLVE_IN_ROOT != 0
	switch {
	case path.IsAbs(w.rest) && w.resolve&unix.RESOLVE_BENEATH != 0:
		return unix.EXDEV
	case path.IsAbs(w.rest) && !inRoot:
		w.at, err = w.c.openPath(root)
	default:
		w.at, err = w.c.openAt(dirfd)
	}
	if err != nil {
		return err
	}
	w.start = w.at.key
	if inRoot {
		w.root, err = w.again(w.at)
	} else {
		w.root, err = w.c.openPath(root)
	}
	if err != nil {
		w.at.close()
	}
	return err
}

func (c *call) openPath(name string) (*file, error) {
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return c.e.newFileOf(fd)
}

// walk returns a place whose dir is at.
func (w *walker) walk() (place, error) {
	for {
		rest := strings.TrimLeft(w.rest, "/")
		name, after, slash := strings.Cut(rest, "/")
		last := strings.Trim(after, "/") == ""
		if !w.at.dir() {
			return place{}, unix.ENOTDIR
		}
		if !w.who.may(w.at, mayEnter) {
			return place{}, errDenied
		}
		switch w.rest = after; name {
		case "", ".":
			if last {
				return w.here()
			}
			continue
		case "..":
			if err := w.up(); err != nil {
				return place{}, err
			}
			if last {
				return w.here()
			}
			continue
		}
		p, done, err := w.step(name, last, slash)
		if done || err != nil {
			return p, err
		}
	}
}

// here returns the place of a path that ends at a directory.
func (w *walker) here() (place, error) {
	f, err := w.again(w.at)
	return place{dir: w.at, file: f}, err
}

func (w *walker) again(f *file) (*file, error) {
	fd, err := unix.FcntlInt(uintptr(f.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return w.c.e.newFileOf(fd)
}

// move continues from another directory.
func (w *walker) move(to *file) error {
	if w.resolve&unix.RESOLVE_NO_XDEV != 0 && to.mount != w.at.mount {
		to.close()
		return unix.EXDEV
	}
	w.at.close()
	w.at = to
	return nil
}

// up goes to the parent directory, but not out of the root.
func (w *walker) up() error {
	if w.resolve&unix.RESOLVE_BENEATH != 0 && w.at.key == w.start {
		return unix.EXDEV
	}
	if w.at.key == w.root.key && w.at.mount == w.root.mount {
		return nil
	}
	fd, err := unix.Openat(w.at.fd, "..", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	dir, err := w.c.e.newFileOf(fd)
	if err != nil {
		return err
	}
	return w.move(dir)
}

// step takes one part of the path. It is done after the last one, unless that is a symlink
// to be followed. A slash after it requires a directory.
func (w *walker) step(name string, last, slash bool) (p place, done bool, err error) {
	next, err := w.c.e.child(w.at, name)
	if err == unix.ENOENT && last {
		return place{dir: w.at, name: name}, true, nil
	}
	if err != nil {
		return place{}, false, err
	}
	if w.at.mount == w.c.e.proc {
		w.ownProcess(next)
	}
	if next.kind() == unix.S_IFLNK && (w.follow || !last || slash) {
		next, err = w.link(next, name, slash)
		if next == nil || err != nil {
			return place{}, false, err
		}
	}
	if last {
		if slash && !next.dir() {
			next.close()
			return place{}, false, unix.ENOTDIR
		}
		return place{dir: w.at, name: name, file: next}, true, nil
	}
	return place{}, false, w.move(next)
}

// link follows a symlink, which it closes, with a slash after it or not. It returns the
// target of a link of /proc; the text of any other link is resolved next.
func (w *walker) link(link *file, name string, slash bool) (*file, error) {
	defer link.close()
	if w.links++; w.links > maxLinks || w.resolve&unix.RESOLVE_NO_SYMLINKS != 0 {
		return nil, unix.ELOOP
	}
	text, magic, err := w.readLink(link, name)
	if err != nil {
		return nil, err
	}
	if magic {
		if w.resolve&(unix.RESOLVE_NO_MAGICLINKS|unix.RESOLVE_BENEATH|unix.RESOLVE_IN_ROOT) != 0 {
			return nil, unix.ELOOP
		}
		fd, err := unix.Openat(w.at.fd, name, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		return w.c.e.newFileOf(fd)
	}
	if slash {
		text += "/"
	}
	w.rest = text + w.rest
	if !path.IsAbs(text) {
		return nil, nil
	}
	if w.resolve&unix.RESOLVE_BENEATH != 0 {
		return nil, unix.EXDEV
	}
	root, err := w.again(w.root)
	if err != nil {
		return nil, err
	}
	return nil, w.move(root)
}

// readLink reads a symlink. In /proc the caller's own links are not ours, and many are
// magic: they lead where their text does not. The links of our own processes must not be
// followed.
func (w *walker) readLink(link *file, name string) (text string, magic bool, err error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(link.fd, &fs); err != nil {
		return "", false, err
	}
	if fs.Type != unix.PROC_SUPER_MAGIC {
		text, err = openat.Link(link.fd)
		return text, false, err
	}
	dir, err := os.Readlink(openat.Path(w.at.fd))
	if err != nil {
		return "", false, err
	}
	below, ok := strings.CutPrefix(dir, "/proc")
	if !ok { // we have it elsewhere
		return "", false, errDenied
	}
	if below == "" {
		switch name {
		case "self":
			return w.c.process(), false, nil
		case "thread-self":
			return w.c.process() + "/task/" + strconv.Itoa(w.c.tid), false, nil
		}
		text, err = openat.Link(link.fd)
		return text, false, err
	}
	pid, _, _ := strings.Cut(below[1:], "/")
	if _, err := strconv.Atoi(pid); err != nil {
		text, err = openat.Link(link.fd)
		return text, false, err
	}
	if ourThread(pid) || !w.who.overrides() && pid != w.c.process() {
		return "", false, errDenied
	}
	return "", true, nil
}

// ownProcess sets the owner of files of a step's process in /proc to the process's own, and
// gives the caller what is its own.
func (w *walker) ownProcess(f *file) {
	pid := processOf(f.fd)
	if pid == "" || f.rec.uid != uint32(os.Getuid()) {
		return
	}
	if number, err := strconv.Atoi(pid); err == nil {
		of := w.c.e.identities.of(number)
		f.rec.uid, f.rec.gid = of.uid.effective, of.gid.effective
	}
	if pid == w.c.process() {
		f.rec.uid = w.who.uid.fs
	}
}

// processOf returns the process that an open file of /proc belongs to, or "".
func processOf(fd int) string {
	name, err := os.Readlink(openat.Path(fd))
	if err != nil {
		return ""
	}
	pid, _, _ := strings.Cut(strings.TrimPrefix(name, "/proc/"), "/")
	if _, err := strconv.Atoi(pid); err != nil {
		return ""
	}
	return pid
}

// process returns the caller's process, as a name in /proc.
func (c *call) process() string {
	if tgid, ok := c.status("Tgid:"); ok {
		return tgid
	}
	return strconv.Itoa(c.tid)
}

// ourThread reports whether a name in /proc is a thread of this process.
func ourThread(pid string) bool {
	_, err := os.Lstat("/proc/self/task/" + pid)
	return err == nil
}
