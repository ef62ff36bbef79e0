//go:build amd64 || arm64

package userns

import (
	"sync"

	"golang.org/x/sys/unix"
)

// record is what a file is to be where the machine did not let it be so.
type record struct {
	uid, gid uint32
	// mode has the type of a device, and set-user-id, set-group-id and sticky
	// bits, in place of those on disk; hasMode says that it counts.
	mode    uint32
	hasMode bool
	rdev    uint64
	// capability is the value of security.capability; "" is none.
	capability string
}

// records are those of a tree, by inode: numbers in an overlay stay what they
// are when a file is copied up, if all of its directories are on one file system.
type records struct {
	mu      sync.Mutex
	byInode map[uint64]*record
}

func newRecords() *records { return &records{byInode: map[uint64]*record{}} }

func (r *records) set(ino uint64, rec record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byInode[ino] = &rec
}

// get returns the record of an inode, of which there may be none.
func (r *records) get(ino uint64) (record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rec := r.byInode[ino]; rec != nil {
		return *rec, true
	}
	return record{}, false
}

// apply changes what stat says of a file to what it is to be.
func (rec *record) apply(st *unix.Stat_t) {
	st.Uid, st.Gid = rec.uid, rec.gid
	if rec.hasMode {
		st.Mode = st.Mode&^(unix.S_IFMT|0o7000) | rec.mode
	}
	if rec.rdev != 0 {
		st.Rdev = rec.rdev
	}
}
