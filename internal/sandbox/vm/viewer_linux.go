//go:build amd64

package vm

import (
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// viewer says with whose permissions a guest sees the host's files: with those that the
// step would have in namespaces. That is this process's user, or, where this is the
// kernel's user 0, somebody who owns no files.
type viewer struct {
	// nobody says that the viewer owns no files; otherwise uid and gid are the viewer's.
	nobody   bool
	uid, gid uint32
}

// owner returns a file's owner in the guest.
func (v *viewer) owner(uid, gid uint32) (guestUID, guestGID uint32) {
	guestUID, guestGID = strangerID, strangerID
	if !v.nobody && uid == v.uid {
		guestUID = stepID
	}
	if !v.nobody && gid == v.gid {
		guestGID = stepID
	}
	return guestUID, guestGID
}

// lookAsStep makes this thread look at files as the step would, so that the host's kernel
// keeps a guest from what the step may not read. The thread belongs to the goroutine from
// then on and ends with it.
func lookAsStep() (viewer, error) {
	runtime.LockOSThread()
	v := viewer{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}
	if !kernelRoot(v.uid) {
		return v, nil
	}
	v.nobody = true
	for _, id := range strangers() {
		if changeViewer(id) {
			return v, nil
		}
	}
	return v, missing(errors.New("a virtual machine is not to see this machine's files as its root does, and there is no other user"),
		"run varve as an ordinary user, or as root without a user namespace")
}

// kernelRoot reports whether a user of this namespace is the kernel's user 0, to whom the
// kernel's own files belong. The namespace's map cannot answer that: the namespace may be
// within another.
func kernelRoot(uid uint32) bool {
	var st unix.Stat_t
	err := unix.Stat("/proc/sys/kernel/core_pattern", &st)
	return err != nil || st.Uid == uid
}

// strangers returns the users to try to become, in order: one who owns no files, or nobody.
func strangers() []int { return []int{stepID, 65534} }

// changeViewer changes with whose permissions this thread, and no other, opens files, and
// reports whether that worked. When root's change, the kernel drops the capabilities that
// override permissions.
func changeViewer(id int) bool {
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		return false
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		return false
	}
	// These return the previous id, and do not report failure.
	_, _ = unix.SetfsgidRetGid(id)
	_, _ = unix.SetfsuidRetUid(id)
	gid, _ := unix.SetfsgidRetGid(-1)
	uid, _ := unix.SetfsuidRetUid(-1)
	if dumpable == 1 { // the change has ended this, for the whole process
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
			return false
		}
	}
	return uid == id && gid == id
}
