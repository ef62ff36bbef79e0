package spec

import (
	"path"
	"strconv"
	"strings"
)

// DefaultPath is where run steps look for programs.
func DefaultPath() []string { return []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"} }

// Isolation is the way run steps are isolated from the machine.
type Isolation string

// The values of Isolation.
const (
	UserNS Isolation = "userns"
	VM     Isolation = "vm"
)

// Network says which network run steps can reach.
type Network string

// The values of Network.
const (
	NetworkNone Network = "none"
	NetworkHost Network = "host"
)

// maxMebibytes limits the sizes of a virtual machine: 16 TiB.
const maxMebibytes = 16 << 20

// HasSteps reports whether something has to be run to build the image.
func (s *Spec) HasSteps() bool {
	return s.ExtraCommands != "" || s.FakeRootCommands != "" || s.RunAsRoot != ""
}

// script returns text for a shell, "" where there is nothing to run.
func (d *decoder) script(v value) string {
	s, ok := d.string(v)
	if ok && strings.ContainsRune(s, 0) {
		d.fail(v, "the script holds a NUL character")
		return ""
	}
	if strings.TrimSpace(s) == "" {
		return ""
	}
	return s
}

// searchPath returns directories: from a list, or from one string written like
// $PATH.
func (d *decoder) searchPath(v value) []string {
	var dirs []string
	d.oneOrMore(v, "directories, as $PATH is written or as a list", func(v value) {
		s, ok := d.filled(v, "directories such as /usr/bin:/bin")
		if !ok {
			return
		}
		for dir := range strings.SplitSeq(s, ":") {
			if !path.IsAbs(dir) || path.Clean(dir) == "/" || climbs(dir) {
				d.fail(v, "got %s, want absolute paths below / without .. parts", quote(dir))
				return
			}
			dirs = append(dirs, path.Clean(dir))
		}
	})
	return dirs
}

// mebibytes returns a size in MiB.
func (d *decoder) mebibytes(v value) int {
	if v.kind != number && v.kind != text {
		d.want(v, "a number of MiB")
		return 0
	}
	n, err := strconv.ParseUint(v.text, 10, 64)
	if err != nil || n < 1 || n > maxMebibytes {
		d.fail(v, "got %s, want a number of MiB from 1 to %d", v.describe(), maxMebibytes)
		return 0
	}
	return int(n)
}
