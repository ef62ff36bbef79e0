//go:build amd64 || arm64

package fakeroot

import (
	"hash/maphash"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox"
)

// record is what a file is to be. On disk it belongs to the namespace's only
// user, has permissions and the sticky bit, and no extended attributes.
type record struct {
	uid, gid uint32
	// special are the set-user-id and set-group-id bits.
	special uint32
	// kind is unix.S_IFCHR or S_IFBLK for a device, whose number is rdev; an empty
	// file stands for it. 0 is what there is on disk.
	kind uint32
	rdev uint64
	// xattrs are extended attributes, access control lists among them.
	xattrs  xattrSet
	written writer
}

// writer is who may have a file open for writing, each of them others too.
type writer uint8

const (
	byRoot writer = iota
	byMember
	byStranger // to its group
)

// writer is what someone is to a file of a group.
func (c *credentials) writer(gid uint32) writer {
	switch {
	case c.overrides():
		return byRoot
	case c.in(gid):
		return byMember
	}
	return byStranger
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

// key is the number of a file. When the file is gone it may be another's.
type key struct{ dev, ino uint64 }

// identity tells a file from others that have had its number, before or after.
type identity uint64

// Records are those of a step's files. A file without one is root's, without
// special modes and attributes.
type Records struct {
	mu  sync.Mutex
	all map[key]numbered
	// seed is for hashes of what identifies files.
	seed maphash.Seed
	// handles says of which file systems the handles tell files apart.
	handles map[uint64]bool
	// inherited says that a directory may hand its group or its access control list on
	// to what is made in it.
	inherited bool
	// attributes is how much there is of these, in bytes.
	attributes int
	// most is how many records there may be before those of files that are gone are
	// looked for, which living does: it calls its argument with each file that is there.
	most   int
	living func(each func(key)) error
	// watches, unless nil, see to files that lose something when they are written to.
	watches *watches
	links   knownLinks // of the tree, as it was unpacked
}

type numbered struct {
	record
	file identity
}

// maxRecords bounds the records that a step can make: some 100 bytes each of our
// memory, besides attributes. A tree has no more files either.
const maxRecords = sandbox.MaxEntries

// NewRecords makes the records of a step, which is root or not, before its tree is unpacked.
func NewRecords(fakeRoot bool) (*Records, error) {
	r := unwatched()
	var err error
	r.watches, err = newWatches(!fakeRoot)
	return r, err
}

// unwatched makes records of files that nobody writes to.
func unwatched() *Records {
	return &Records{all: map[key]numbered{}, handles: map[uint64]bool{}, most: 1 << 16, seed: maphash.MakeSeed()}
}

// get returns the record of the file fd, which may be an O_PATH descriptor, and
// reports whether it has one.
func (r *Records) get(fd int, k key) (record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec, ok := r.all[k]
	if !ok {
		return record{}, false
	}
	if rec.file != r.identify(fd, k) {
		r.put(k, numbered{})
		return record{}, false
	}
	return rec.record, true
}

// set gives the file fd a record. A step that has made too many is refused more.
func (r *Records) set(fd int, k key, rec record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rec == (record{}) {
		if r.watches != nil {
			r.watches.leave(k)
		}
		r.put(k, numbered{})
		return nil
	}
	if err := r.makeRoom(len(rec.xattrs) - len(r.all[k].xattrs)); err != nil {
		return err
	}
	if r.watches != nil {
		if err := r.watches.follow(fd, k, &rec); err != nil {
			return err
		}
	}
	r.put(k, numbered{rec, r.identify(fd, k)})
	return nil
}

func (r *Records) put(k key, rec numbered) {
	r.attributes += len(rec.xattrs) - len(r.all[k].xattrs)
	if rec.record == (record{}) {
		delete(r.all, k)
		return
	}
	r.all[k] = rec
	r.inherited = r.inherited || rec.special&unix.S_ISGID != 0 || rec.xattrs.has(aclDefault)
}

// forget is for files that are gone where nothing else tells that their numbers
// are others' then.
func (r *Records) forget(k key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(k, numbered{})
}

// makeRoom sees to it that there is room for another record and so many bytes
// of attributes.
func (r *Records) makeRoom(attributes int) error {
	full := func() bool { return len(r.all) >= r.most || r.attributes+attributes > maxAttributes }
	if !full() || r.living == nil {
		return nil
	}
	there := map[key]bool{}
	if err := r.living(func(k key) {
		if _, ok := r.all[k]; ok {
			there[k] = true
		}
	}); err != nil {
		return err
	}
	for k := range r.all {
		if !there[k] {
			r.put(k, numbered{})
		}
	}
	r.most = min(max(r.most, 2*len(r.all)), max(maxRecords, len(r.all)))
	if full() {
		return unix.ENOSPC
	}
	return nil
}

// inherits reports whether a directory may hand something on to what is made in it.
func (r *Records) inherits() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.inherited
}

// handled reports whether the handles of a file system, that of the file fd, tell its
// files apart.
func (r *Records) handled(fd int, dev uint64) bool {
	yes, known := r.handles[dev]
	if !known {
		_, ok := handle(fd)
		yes = ok && hasStableHandles(fd)
		r.handles[dev] = yes
	}
	return yes
}

// identify says which file fd is: by its handle, in which file systems count how
// often they have used a number, or by the time when it was made.
func (r *Records) identify(fd int, k key) identity {
	if r.handled(fd, k.dev) {
		if h, ok := handle(fd); ok {
			return identity(maphash.Bytes(r.seed, h.Bytes()))
		}
	}
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME, &st); err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return 0
	}
	return identity(st.Btime.Sec)*1e9 + identity(st.Btime.Nsec)
}

// handleOnly asks for a handle that need not be good for opening the file
// (AT_HANDLE_FID), which overlay file systems always have.
const handleOnly = 0x200

func handle(fd int) (unix.FileHandle, bool) {
	for _, flag := range []int{0, handleOnly} {
		h, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH|flag)
		if err == nil {
			return h, true
		}
	}
	return unix.FileHandle{}, false
}

// hasStableHandles reports whether a file's handle stays the same while the file
// is there.
func hasStableHandles(fd int) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(fd, &st) == nil && slices.Contains([]int64{
		unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.F2FS_SUPER_MAGIC, unix.OVERLAYFS_SUPER_MAGIC,
	}, int64(st.Type))
}
