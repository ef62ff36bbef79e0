package tree

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/regfile"
)

// Stamp is what a file system says of a file besides its attributes: as long as it stays the
// same, so does the content. Times are in nanoseconds since 1970.
type Stamp struct {
	// Device and Inode say which file it is.
	Device, Inode uint64
	// Change is when the file was last changed in any way, ModTime when its content was. Change is
	// UnknownChange where the file system does not say.
	Change, ModTime int64
	// Offset is where the content begins in an archive that has it.
	Offset int64
}

// StampOfPart is the stamp of content that no file has: the part with a name of something that
// has a digest.
func StampOfPart(whole digest.Digest, name string) Stamp {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s", whole, name))
	word := func(i int) uint64 { return binary.BigEndian.Uint64(sum[8*i:]) }
	return Stamp{Device: word(0), Inode: word(1), ModTime: int64(word(2)), Change: 1}
}

// speaksFor reports whether a file that was found to have another stamp is the same, unchanged.
// What a file system does not tell of change times cannot show.
func (s Stamp) speaksFor(found Stamp) bool {
	return s.Inode == found.Inode && s.ModTime == found.ModTime && (s.Change == found.Change || s.Change == UnknownChange)
}

// UnknownChange is the change time of a file that may be changed at any time without another stamp:
// after all times, it never is some time ago.
const UnknownChange = math.MaxInt64

// stampOf returns the stamp of a file on disk.
func stampOf(st *unix.Stat_t) Stamp {
	return Stamp{Device: uint64(st.Dev), Inode: st.Ino, Change: changeTime(st), ModTime: st.Mtim.Nano()}
}

// stampOfOpen is stampOf for an open file.
func stampOfOpen(fd int, st *unix.Stat_t) Stamp {
	s := stampOf(st)
	if s.Change == s.ModTime {
		s.limit(regfile.ChangesIn(fd))
	}
	return s
}

// limit takes away a change time that is none. An error says that nobody knows.
func (s *Stamp) limit(changes regfile.Changes, err error) {
	if err != nil || changes.Unknown(s.Change, s.ModTime) {
		s.Change = UnknownChange
	}
}

// stamps knows what the change times on devices are worth.
type stamps map[uint64]regfile.Changes

// of is stampOfOpen for the regular file called name in the directory dir.
func (known stamps) of(dir int, name string, st *unix.Stat_t) Stamp {
	s := stampOf(st)
	if s.Change != s.ModTime {
		return s // it is one, whatever the file system
	}
	changes, ok := known[s.Device]
	if !ok {
		var err error
		if changes, err = changesAt(dir, name, s.Device); err != nil {
			s.limit(0, err) // opening the file will say why
			return s
		}
		known[s.Device] = changes
	}
	s.limit(changes, nil)
	return s
}

// changesAt looks at the file system of what is called name in the directory dir, and has the device.
// It is opened only where the directory has another.
func changesAt(dir int, name string, device uint64) (regfile.Changes, error) {
	var around unix.Stat_t
	if dir != unix.AT_FDCWD && unix.Fstat(dir, &around) == nil && uint64(around.Dev) == device {
		return regfile.ChangesIn(dir)
	}
	fd, err := unix.Openat(dir, name, openPath|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	return regfile.ChangesIn(fd)
}
