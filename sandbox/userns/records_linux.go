//go:build amd64 || arm64

package userns

import (
	"sync"

	"golang.org/x/sys/unix"
)

// record is what a file is to be where it cannot be so on disk. On disk it
// belongs to the namespace's first user.
type record struct {
	uid, gid uint32
	// special are the set-user-id and set-group-id bits.
	special uint32
	// kind is unix.S_IFCHR or S_IFBLK for a device, whose number is rdev; an empty
	// file stands for it. 0 is what there is on disk.
	kind uint32
	rdev uint64
	// xattrs are the extended attributes that belong into a layer.
	xattrs xattrSet
	// born, unless 0, is when the file was made, in nanoseconds: of another file
	// with the same inode, where no one was told of the first one's end, it is not
	// the record.
	born int64
}

const specialBits = unix.S_ISUID | unix.S_ISGID

// apply changes what stat says of a file to what it is to be.
func (r *record) apply(st *unix.Stat_t) {
	st.Uid, st.Gid = r.uid, r.gid
	st.Mode |= r.special
	if r.kind != 0 {
		st.Mode = st.Mode&^unix.S_IFMT | r.kind
		st.Rdev, st.Size, st.Blocks = r.rdev, 0, 0
	}
}

// applyx does so for statx.
func (r *record) applyx(st *unix.Statx_t) {
	st.Uid, st.Gid = r.uid, r.gid
	st.Mode |= uint16(r.special)
	if r.kind != 0 {
		st.Mode = st.Mode&^unix.S_IFMT | uint16(r.kind)
		st.Rdev_major, st.Rdev_minor = unix.Major(r.rdev), unix.Minor(r.rdev)
		st.Size, st.Blocks = 0, 0
	}
}

// records are those of a tree, by inode. Numbers in an overlay stay what they
// are when a file is copied up, as long as all of its directories are on one file
// system; they are used again only after a file is gone, which forget is told.
type records struct {
	mu      sync.Mutex
	byInode map[uint64]record
	// setgid says that a directory has had its set-group-id bit set.
	setgid bool
	// size is that of all attributes, in bytes.
	size int
}

func newRecords() *records { return &records{byInode: map[uint64]record{}} }

// get returns the record of an inode; without one it is that of root's file.
func (r *records) get(ino uint64) (record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec, ok := r.byInode[ino]
	return rec, ok
}

func (r *records) set(ino uint64, rec record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.size += len(rec.xattrs) - len(r.byInode[ino].xattrs)
	if rec == (record{}) {
		delete(r.byInode, ino)
		return
	}
	r.byInode[ino] = rec
	r.setgid = r.setgid || rec.special&unix.S_ISGID != 0
}

// room tells whether a step may record so many bytes of attributes more.
func (r *records) room(bytes int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.size+bytes <= maxAttributes
}

func (r *records) forget(ino uint64) { r.set(ino, record{}) }

// inherits says whether a directory may give its group to what is made in it.
func (r *records) inherits() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.setgid
}
