//go:build amd64 || arm64

package fakeroot

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/openat"
)

// watches find out which files have been written to that lose something thereby:
// capabilities, whoever writes, and special modes if the writer is not root. The kernel
// does so by itself where these are on disk.
type watches struct {
	fd     int // of inotify(7)
	byNode map[key]watched
	byWD   map[int32]key
	// anyone says that no writer is root.
	anyone bool
}

// watched is one file.
type watched struct {
	wd int32
	// groupMayExecute says whether the set-group-id bit is really one; otherwise it stands
	// for mandatory locks.
	groupMayExecute bool
}

// maxWatches limits the files that are watched: each takes memory of the kernel's.
const maxWatches = 8192

func newWatches(anyone bool) (*watches, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	return &watches{fd: fd, byNode: map[key]watched{}, byWD: map[int32]key{}, anyone: anyone}, err
}

// follow starts or stops watching the file fd, as its record demands.
func (w *watches) follow(fd int, k key, rec *record) error {
	if rec.special == 0 && !rec.xattrs.has(capabilityXattr) {
		w.leave(k)
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return err
	}
	if _, known := w.byNode[k]; !known && len(w.byNode) == maxWatches {
		return unix.ENOSPC
	}
	wd, err := unix.InotifyAddWatch(w.fd, openat.Path(fd), unix.IN_MODIFY)
	if err != nil {
		return err
	}
	w.byNode[k] = watched{int32(wd), st.Mode&unix.S_IXGRP != 0}
	w.byWD[int32(wd)] = k
	return nil
}

func (w *watches) leave(k key) {
	if seen, ok := w.byNode[k]; ok {
		_, _ = unix.InotifyRmWatch(w.fd, uint32(seen.wd)) // the watch ends with its file
		delete(w.byNode, k)
		delete(w.byWD, seen.wd)
	}
}

// The layout of struct inotify_event.
const (
	eventMask = 4
	eventLen  = 12
	eventSize = 16
)

// modified calls each with the files that have been written to since the last time.
func (w *watches) modified(each func(k key, groupMayExecute bool)) {
	if len(w.byNode) == 0 {
		return
	}
	var buf [4096]byte
	for {
		n, err := unix.Read(w.fd, buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 { // no more events
			return
		}
		for events := buf[:n]; len(events) >= eventSize; {
			wd := int32(binary.NativeEndian.Uint32(events))
			w.event(wd, binary.NativeEndian.Uint32(events[eventMask:]), each)
			events = events[eventSize+binary.NativeEndian.Uint32(events[eventLen:]):]
		}
	}
}

func (w *watches) event(wd int32, mask uint32, each func(k key, groupMayExecute bool)) {
	k, ok := w.byWD[wd]
	switch {
	case mask&unix.IN_Q_OVERFLOW != 0: // any file may have been written to
		for k, seen := range w.byNode {
			each(k, seen.groupMayExecute)
		}
	case ok && mask&unix.IN_MODIFY != 0:
		each(k, w.byNode[k].groupMayExecute)
	case ok && mask&unix.IN_IGNORED != 0: // the file is gone
		delete(w.byWD, wd)
		if w.byNode[k].wd == wd {
			delete(w.byNode, k)
		}
	}
}

// Written takes from files what they lose when they are written to.
func (r *Records) Written() {
	if r.watches == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watches.modified(func(k key, groupMayExecute bool) {
		rec, ok := r.all[k]
		if !ok {
			return
		}
		rec.xattrs = rec.xattrs.without(capabilityXattr)
		by := rec.written
		if r.watches.anyone {
			by = byMember
		}
		if by != byRoot {
			rec.special &^= unix.S_ISUID
		}
		if by == byStranger || by == byMember && groupMayExecute {
			rec.special &^= unix.S_ISGID
		}
		r.put(k, rec)
	})
}
