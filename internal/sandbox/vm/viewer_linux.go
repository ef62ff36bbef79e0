//go:build amd64

package vm

import (
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// viewer is with whose permissions a guest sees the host's files: with those that
// the step would have in namespaces. That is this process's user, or, where that
// is the kernel's user 0, somebody to whom no file belongs.
type viewer struct {
	// nobody says that no file is its own; uid and gid are whose are otherwise.
	nobody   bool
	uid, gid uint32
}

// owner says whose a file is in the guest.
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

// lookAsStep has this thread look at files as the step would, so that it is the
// host's kernel that keeps a guest from what the step may not read. The thread
// belongs to the goroutine from then on and ends with it.
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

// kernelRoot tells whether a user of this namespace is the kernel's user 0, to whom
// the kernel's own files belong. The map of the namespace does not tell: it may be
// within another.
func kernelRoot(uid uint32) bool {
	var st unix.Stat_t
	err := unix.Stat("/proc/sys/kernel/core_pattern", &st)
	return err != nil || st.Uid == uid
}

// strangers are the users to become, the first that there is: one to whom no file
// belongs, or nobody.
func strangers() []int { return []int{stepID, 65534} }

// changeViewer changes with whose permissions this thread, and no other, opens
// files, and whether it could. From root's the kernel takes what may pass over
// permissions.
func changeViewer(id int) bool {
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		return false
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		return false
	}
	// These return who it was, and say nothing of failure.
	_, _ = unix.SetfsgidRetGid(id)
	_, _ = unix.SetfsuidRetUid(id)
	gid, _ := unix.SetfsgidRetGid(-1)
	uid, _ := unix.SetfsuidRetUid(-1)
	if dumpable == 1 { // which the change has ended, for all of the process
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
			return false
		}
	}
	return uid == id && gid == id
}
