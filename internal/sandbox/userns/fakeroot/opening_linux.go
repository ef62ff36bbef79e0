//go:build amd64 || arm64

package fakeroot

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/openat"
)

// openingCalls adds the calls that open files, and may make them.
func (e *Emulator) openingCalls() {
	e.oldOpeningCalls()
	e.calls[unix.SYS_OPENAT] = at(0, 1, func(c *call, dir int, name string) answer {
		return e.open(c, dir, name, &unix.OpenHow{Flags: uint64(c.uint32(2)), Mode: uint64(c.uint32(3))})
	})
	e.calls[unix.SYS_OPENAT2] = at(0, 1, func(c *call, dir int, name string) answer {
		var how unix.OpenHow
		buf := bytesOf(&how)
		if c.args[3] < uint64(len(buf)) {
			return pass
		}
		if n, err := c.read(uintptr(c.args[2]), buf); err != nil || n != len(buf) {
			return pass
		}
		if how.Resolve&resolveCached != 0 {
			return fails(unix.EAGAIN) // callers that ask for this can do without an answer
		}
		if !plain(&how) {
			return fails(unix.EINVAL)
		}
		return e.open(c, dir, name, &how)
	})
}

// resolveCached is RESOLVE_CACHED (linux/openat2.h).
const resolveCached = 0x20

// plain reports whether openat2(2) may do what it is asked for.
func plain(how *unix.OpenHow) bool {
	const known = unix.RESOLVE_BENEATH | unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV
	const either = unix.RESOLVE_BENEATH | unix.RESOLVE_IN_ROOT
	makes := how.Flags&unix.O_CREAT != 0 || how.Flags&unix.O_TMPFILE == unix.O_TMPFILE
	return how.Resolve&^known == 0 && how.Resolve&either != either && how.Mode&^0o7777 == 0 && (makes || how.Mode == 0)
}

// opening is a call that opens a file.
type opening struct {
	c     *call
	who   credentials
	dirfd int
	name  string
	how   *unix.OpenHow
}

func (o *opening) has(flags uint64) bool { return o.how.Flags&flags == flags }

func (o *opening) creates() bool { return o.has(unix.O_CREAT) && !o.has(unix.O_PATH) }

func (o *opening) nameless() bool { return o.has(unix.O_TMPFILE) && !o.has(unix.O_PATH) }

func (o *opening) writes() bool {
	return !o.has(unix.O_PATH) && (o.how.Flags&unix.O_ACCMODE != unix.O_RDONLY || o.has(unix.O_TRUNC))
}

func (o *opening) follows() bool {
	return !o.has(unix.O_NOFOLLOW) && !(o.creates() && o.has(unix.O_EXCL))
}

// open answers a call that the kernel cannot.
func (e *Emulator) open(c *call, dirfd int, name string, how *unix.OpenHow) answer {
	o := &opening{c: c, who: e.identities.of(c.tid), dirfd: dirfd, name: name, how: how}
	makes := (o.creates() || o.nameless()) && !e.ordinary(c, uint32(how.Mode))
	mounts := e.mayShowMounts(name)
	if !makes && !mounts && o.who.overrides() && !(o.writes() && e.identities.changed()) {
		return pass
	}
	if mounts {
		if a, shown := e.showMounts(o); shown {
			return a
		}
	}
	if o.nameless() {
		return e.openNameless(o)
	}
	p, err := c.walk(dirfd, name, o.follows(), how.Resolve)
	if err != nil {
		return c.lost(err)
	}
	defer p.close()
	switch {
	case p.file != nil:
		return e.mayOpen(o, p.file)
	case makes && p.dir.ours && !strings.HasSuffix(name, "/"):
		return e.openNew(o, &p)
	}
	return pass
}

// mayOpen lets the kernel open a file unless its owner denies the caller access.
func (e *Emulator) mayOpen(o *opening, f *file) answer {
	if o.has(unix.O_PATH) || o.creates() && o.has(unix.O_EXCL) || f.kind() == unix.S_IFLNK || !e.fakeRoot {
		return pass
	}
	if f.dir() && (o.creates() || o.writes()) || !f.dir() && o.has(unix.O_DIRECTORY) {
		return pass // the kernel fails
	}
	what := uint32(mayRead)
	switch o.how.Flags & unix.O_ACCMODE {
	case unix.O_WRONLY:
		what = mayWrite
	case unix.O_RDWR:
		what = mayRead | mayWrite
	}
	if o.writes() {
		what |= mayWrite
	}
	switch {
	case !o.who.may(f, what):
		return fails(unix.EACCES)
	case o.has(unix.O_NOATIME) && !o.who.owns(f):
		return fails(unix.EPERM)
	case o.writes() && f.ours && f.regular():
		return e.noteWriter(&o.who, f)
	}
	return pass
}

// noteWriter notes who may write to a file from now on.
func (e *Emulator) noteWriter(who *credentials, f *file) answer {
	rec := f.rec
	if rec.written != byRoot && !e.isWritten(f) {
		rec.written = byRoot
	}
	rec.written = max(rec.written, who.writer(rec.gid))
	if rec != f.rec {
		if err := e.records.set(f.fd, f.key, rec); err != nil {
			return fails(err)
		}
	}
	return pass
}

// openNew makes a file and opens it.
func (e *Emulator) openNew(o *opening, p *place) answer {
	m, err := e.newMaker(o.c, p.dir, p.name, unix.S_IFREG, uint32(o.how.Mode))
	if err != nil {
		return fails(err)
	}
	if o.writes() {
		m.rec.written = o.who.writer(m.rec.gid)
	}
	if o.c.traced { // a tracer cannot give the caller a file
		return answer{pass: true, made: m.later()}
	}
	flags := int(o.how.Flags) | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NOCTTY
	fd, err := unix.Openat(p.dir.fd, p.name, flags, m.mode)
	return e.opened(o, m, fd, err)
}

// openNameless makes a file without a name in a directory (O_TMPFILE).
func (e *Emulator) openNameless(o *opening) answer {
	return o.c.on(o.dirfd, o.name, 0, func(dir *file) answer {
		if !dir.dir() || !o.writes() {
			return pass // the kernel fails
		}
		m, err := e.newMaker(o.c, dir, "", unix.S_IFREG, uint32(o.how.Mode))
		if err != nil {
			return fails(err)
		}
		m.rec.written = o.who.writer(m.rec.gid)
		if o.c.traced {
			return answer{pass: true, made: m.later()}
		}
		fd, err := unix.Openat(dir.fd, ".", int(o.how.Flags)|unix.O_CLOEXEC, m.mode)
		return e.opened(o, m, fd, err)
	})
}

// opened hands a new file to the caller.
func (e *Emulator) opened(o *opening, m *maker, fd int, err error) answer {
	if err != nil {
		return fails(err)
	}
	f, err := o.c.openPath(openat.Path(fd))
	if err != nil {
		unix.Close(fd)
		return fails(err)
	}
	defer f.close()
	if a := m.note(f); a.errno != 0 {
		unix.Close(fd)
		return a
	}
	return answer{file: &newFile{fd, o.has(unix.O_CLOEXEC)}}
}

// later returns a maker for a file that the kernel makes, with a directory of its own.
func (m *maker) later() *maker {
	if fd, err := unix.FcntlInt(uintptr(m.dir.fd), unix.F_DUPFD_CLOEXEC, 0); err == nil {
		dir := *m.dir
		dir.fd = fd
		m.dir = &dir
		return m
	}
	return nil
}

// madeBy notes the file made by a traced call that returned it open.
func (m *maker) madeBy(c *call, fd int) {
	if f, err := c.openPath(c.at(fd)); err == nil {
		m.note(f)
		f.close()
	}
}
