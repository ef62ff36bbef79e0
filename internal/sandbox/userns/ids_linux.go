//go:build amd64 || arm64

package userns

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/lack"
	"github.com/varve-image/varve/internal/sandbox"
)

// identities says which user and group of this namespace stand for the single ones of a
// step. One of each is enough: the emulator handles all other ids that a step deals with.
type identities struct {
	uid, gid int // of this namespace
	inside   int // their id inside
	// others says that they are not this user's own ids, which takes privilege.
	others bool
}

func (m *identities) uids() []syscall.SysProcIDMap {
	return []syscall.SysProcIDMap{{ContainerID: m.inside, HostID: m.uid, Size: 1}}
}

func (m *identities) gids() []syscall.SysProcIDMap {
	return []syscall.SysProcIDMap{{ContainerID: m.inside, HostID: m.gid, Size: 1}}
}

// chooseIDs chooses the ids: this user's own, but instead of the kernel's user 0, to whom
// the machine's settings belong, another one that this user may map.
func chooseIDs(fakeRoot bool) (*identities, error) {
	m := &identities{uid: os.Geteuid(), gid: os.Getegid()}
	if !fakeRoot {
		m.inside = sandbox.UserID
	}
	kernelUID, kernelGID, err := kernelRoot()
	if err != nil {
		return nil, &lack.Error{Err: fmt.Errorf("find out who is the kernel's user 0: %w", err), Hints: []string{"mount /proc"}}
	}
	if m.uid != kernelUID {
		return m, nil
	}
	m.others = true
	if m.uid, err = otherID("/proc/self/uid_map", kernelUID); err == nil {
		m.gid, err = otherID("/proc/self/gid_map", kernelGID)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// settings is a file that belongs to the kernel's user 0, in every namespace.
const settings = "/proc/sys/kernel/core_pattern"

// kernelRoot finds out which ids of this namespace are the kernel's 0, or returns
// sandbox.OverflowID where none are. The map cannot answer that: it is written in the ids
// of a namespace that may itself be nested.
func kernelRoot() (uid, gid int, err error) {
	var st unix.Stat_t
	if err := unix.Stat(settings, &st); err != nil {
		return 0, 0, &os.PathError{Op: "stat", Path: settings, Err: err}
	}
	return int(st.Uid), int(st.Gid), nil
}

// highHalf is the id that a step gets when the machine's root runs it: no file of the
// machine belongs to it.
const highHalf = 1 << 31

// otherID chooses an id from a namespace's map that is not the kernel's 0.
func otherID(file string, kernel int) (int, error) {
	have, err := readMap(file)
	if err != nil {
		return 0, fmt.Errorf("find out which ids there are: %w", err)
	}
	best := -1
	for _, r := range have {
		if r.first <= highHalf && highHalf-r.first < r.size {
			return highHalf, nil
		}
		for id := r.first + r.size - 1; id >= max(r.first, r.first+r.size-3); id-- {
			if id != kernel && id != sandbox.OverflowID {
				best = max(best, id)
				break
			}
		}
	}
	if best < 0 {
		return 0, &lack.Error{
			Err: errors.New("a step would be the kernel's user 0, to whom the machine's settings belong: this user namespace has no other user"),
			Hints: []string{"run varve outside of the user namespace, or as an ordinary user",
				"give the user namespace more users (unshare --map-users, or a range of ids in its uid_map and gid_map)",
				"in builds of Nix as root, let users do them: set build-users-group"},
		}
	}
	return best, nil
}

// idRange is a range of ids of a namespace, as in its map.
type idRange struct{ first, size int }

// readMap reads a map in the format of user_namespaces(7).
func readMap(name string) ([]idRange, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return parseMap(name, string(text))
}

func parseMap(name, text string) ([]idRange, error) {
	var all []idRange
	for line := range strings.Lines(text) {
		var r idRange
		var outside int
		if _, err := fmt.Sscan(line, &r.first, &outside, &r.size); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, r)
	}
	return all, nil
}
