//go:build amd64 || arm64

package fakeroot

import (
	"hash/maphash"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox"
)

// record says what a file is to be. On disk it belongs to the namespace's only user, has
// permissions and the sticky bit, and no extended attributes.
type record struct {
	uid, gid uint32
	// special are the set-user-id and set-group-id bits.
	special uint32
	// kind is unix.S_IFCHR or S_IFBLK for a device, whose number is rdev; an empty file
	// stands for it. 0 means the kind on disk.
	kind uint32
	rdev uint64
	// xattrs are extended attributes, access control lists among them.
	xattrs  xattrSet
	written writer
}

// writer says who may have a file open for writing; each value includes those before it.
type writer uint8

const (
	byRoot writer = iota
	byMember
	byStranger // a stranger to its group
)

// writer classifies a user with regard to a file of a group.
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

// apply changes the stat result of a file to what the file is to be.
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

// key identifies a file. Once the file is gone another may get its key.
type key struct{ dev, ino uint64 }

// identity distinguishes a file from others with the same key, earlier or later.
type identity uint64

// Records are the records of a step's files. A file without one is root's, without special
// modes and attributes.
type Records struct {
	mu  sync.Mutex
	all map[key]numbered
	// seed is for hashes of what identifies files.
	seed maphash.Seed
	// handles says in which file systems files are distinguished by their handles.
	handles map[uint64]bool
	// inherited says that a directory may hand its group or its access control list on to
	// files made in it.
	inherited bool
	// attributes is the total size of attributes, in bytes.
	attributes int
	// most is the number of records at which living is called to find the records of files
	// that are gone: it calls its argument with each file that still exists.
	most   int
	living func(each func(key)) error
	// watches, unless nil, handle files that lose something when they are written to.
	watches *watches
	links   knownLinks // of the tree, as unpacked
}

type numbered struct {
	record
	file identity
}

// maxRecords limits the records that a step can make: some 100 bytes each of our memory,
// besides attributes. A tree is limited to as many files.
const maxRecords = sandbox.MaxEntries

// NewRecords makes the records of a step, which is root or not, before its tree is unpacked.
func NewRecords(fakeRoot bool) (*Records, error) {
	r := unwatched()
	var err error
	r.watches, err = newWatches(!fakeRoot)
	return r, err
}

// unwatched makes records of files that are never written to.
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

// set gives the file fd a record. It fails if a step has made too many.
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

// forget drops the record of a file that is gone, where nothing else shows that its number
// has been reused.
func (r *Records) forget(k key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(k, numbered{})
}

// makeRoom makes sure that there is room for another record and that many bytes of
// attributes.
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

// inherits reports whether a directory may hand something on to files made in it.
func (r *Records) inherits() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.inherited
}

// handled reports whether handles distinguish the files of the file system that the file fd
// is in.
func (r *Records) handled(fd int, dev uint64) bool {
	yes, known := r.handles[dev]
	if !known {
		_, ok := handle(fd)
		yes = ok && hasStableHandles(fd)
		r.handles[dev] = yes
	}
	return yes
}

// identify returns the identity of the file fd: by its handle, in which file systems count
// the reuse of a number, or by the time when it was made.
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
