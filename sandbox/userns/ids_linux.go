//go:build amd64 || arm64

package userns

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/varve-image/varve/sandbox"
	"github.com/varve-image/varve/tree"
)

// identities is which ids of the machine those of a step stand for.
type identities struct {
	uids, gids []syscall.SysProcIDMap
	// helpers says that newuidmap and newgidmap have to write the maps.
	helpers bool
	// groups says that supplementary groups can be set.
	groups bool
	// user is who the first process and the step are, inside.
	user int
}

// single says that there is one id only.
func (m *identities) single() bool { return len(m.uids) == 1 && m.uids[0].Size == 1 }

// cover tells whether all owners of a tree are among the ids.
func (m *identities) cover(entries []*tree.Entry) bool {
	in := func(maps []syscall.SysProcIDMap, id uint32) bool {
		return slices.ContainsFunc(maps, func(r syscall.SysProcIDMap) bool {
			return int64(id) >= int64(r.ContainerID) && int64(id) < int64(r.ContainerID)+int64(r.Size)
		})
	}
	return !slices.ContainsFunc(entries, func(e *tree.Entry) bool { return !in(m.uids, e.UID) || !in(m.gids, e.GID) })
}

// host is the machine's user and group for a step's own.
func (m *identities) host() (uid, gid int) { return m.uids[0].HostID, m.gids[0].HostID }

// highHalf is where the ids of steps begin that root runs: no file of the
// machine belongs to one of these, and the kernel's user 0 is not among them.
const highHalf = 1 << 31

// chooseIDs finds out what this user may map: with many, more than one id. A
// step without fake root is one user, whoever runs it.
func chooseIDs(fakeRoot, many bool) (*identities, error) {
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 {
		maps, err := ownMaps()
		if err != nil || maps != nil && fakeRoot && many {
			return maps, err
		}
		if maps != nil {
			uid, gid = maps.host()
		}
	} else if fakeRoot && many {
		if maps := subordinate(uid, gid); maps != nil {
			return maps, nil
		}
	}
	m := &identities{}
	if !fakeRoot {
		m.user = sandbox.UserID
	}
	m.uids = []syscall.SysProcIDMap{{ContainerID: m.user, HostID: uid, Size: 1}}
	m.gids = []syscall.SysProcIDMap{{ContainerID: m.user, HostID: gid, Size: 1}}
	return m, nil
}

// ownMaps returns the maps for root: the high half where this namespace has all
// ids, as the machine's own has; what there is in a container's; or nil if that
// is one id.
func ownMaps() (*identities, error) {
	m := &identities{groups: true}
	for _, kind := range []struct {
		file string
		to   *[]syscall.SysProcIDMap
	}{{"/proc/self/uid_map", &m.uids}, {"/proc/self/gid_map", &m.gids}} {
		have, err := readMap(kind.file)
		if err != nil {
			return nil, fmt.Errorf("find out which ids there are: %w", err)
		}
		switch {
		case len(have) == 1 && have[0].Size == 1:
			return nil, nil
		case len(have) == 1 && have[0].HostID == 0 && have[0].Size > highHalf:
			have = []syscall.SysProcIDMap{{ContainerID: 0, HostID: highHalf, Size: highHalf - 1}}
		default:
			for i := range have {
				have[i].HostID = have[i].ContainerID
			}
		}
		*kind.to = have
	}
	return m, nil
}

// readMap reads a file as user_namespaces(7) describes it.
func readMap(name string) ([]syscall.SysProcIDMap, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var all []syscall.SysProcIDMap
	for line := range strings.Lines(string(text)) {
		var m syscall.SysProcIDMap
		if _, err := fmt.Sscan(line, &m.ContainerID, &m.HostID, &m.Size); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, m)
	}
	return all, nil
}

// subordinate returns the maps for a user that has subordinate ids and the
// programs to map them, or nil.
func subordinate(uid, gid int) *identities {
	m := &identities{helpers: true, groups: true}
	for _, kind := range []struct {
		file, tool string
		id         int
		to         *[]syscall.SysProcIDMap
	}{{"/etc/subuid", "newuidmap", uid, &m.uids}, {"/etc/subgid", "newgidmap", gid, &m.gids}} {
		if _, err := exec.LookPath(kind.tool); err != nil {
			return nil
		}
		start, size := subordinateRange(kind.file, uid)
		if size == 0 {
			return nil
		}
		*kind.to = []syscall.SysProcIDMap{{ContainerID: 0, HostID: kind.id, Size: 1}, {ContainerID: 1, HostID: start, Size: size}}
	}
	return m
}

// subordinateRange returns the longest range of a user in a file as subuid(5)
// describes it.
func subordinateRange(file string, uid int) (start, size int) {
	f, err := os.Open(file)
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	number := strconv.Itoa(uid)
	name := number
	if u, err := user.LookupId(number); err == nil {
		name = u.Username
	}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		p := strings.Split(strings.TrimSpace(lines.Text()), ":")
		if len(p) != 3 || p[0] != name && p[0] != number {
			continue
		}
		first, err1 := strconv.Atoi(p[1])
		n, err2 := strconv.Atoi(p[2])
		if err1 == nil && err2 == nil && n > size {
			start, size = first, n
		}
	}
	return start, size
}

// rangeError says that subordinate ids could not be mapped although there are
// some. One id is enough for a step, and for all that it may do.
type rangeError struct{ error }

// mapWithHelpers has newuidmap and newgidmap write the maps of a process. Its
// error is a rangeError.
func (m *identities) mapWithHelpers(ctx context.Context, pid int) error {
	for _, kind := range []struct {
		tool string
		maps []syscall.SysProcIDMap
	}{{"newuidmap", m.uids}, {"newgidmap", m.gids}} {
		args := []string{strconv.Itoa(pid)}
		for _, r := range kind.maps {
			args = append(args, strconv.Itoa(r.ContainerID), strconv.Itoa(r.HostID), strconv.Itoa(r.Size))
		}
		out, err := exec.CommandContext(ctx, kind.tool, args...).CombinedOutput()
		if err == nil {
			continue
		}
		return rangeError{fmt.Errorf("%s: %w: %s", kind.tool, err, strings.TrimSpace(string(out)))}
	}
	return nil
}
