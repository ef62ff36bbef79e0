package rootfs

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode"

	"github.com/varve-image/varve/tree"
)

// pamOther is the policy of every service that has none of its own.
const pamOther = `account sufficient pam_unix.so
auth sufficient pam_rootok.so
password requisite pam_unix.so nullok sha512
session required pam_unix.so
`

// shadow returns the files that the programs of the shadow suite, such as useradd,
// expect: /etc/passwd with root, whose shell is shell ("" means /bin/sh),
// /etc/shadow with root locked, /etc/group, /etc/gshadow, /etc/pam.d/other and an
// empty /etc/login.defs.
//
// These files yield to those that the image has already: present reports
// whether it has a file at a path such as "etc/passwd", from the base image or
// any other source; nil means that it has none. A password file goes with its
// list: an image with its own etc/passwd gets no etc/shadow, one with its own
// etc/group no etc/gshadow. So shadow is called last, and no conflict is left
// for the merge.
//
// The two files that hold passwords have mode 0600. nixpkgs' shadowSetup
// leaves that to the umask, which makes them readable for all.
func shadow(shell string, present func(path string) bool) ([]*tree.Entry, error) {
	if shell == "" {
		shell = "/bin/sh"
	}
	if err := checkShell(shell); err != nil {
		return nil, fmt.Errorf("preset shadow: shell %s: %w", shorten(shell), err)
	}
	if present == nil {
		present = func(string) bool { return false }
	}
	var missing []*tree.Entry
	add := func(list string, e *tree.Entry) {
		if !present(list) && (e.Path == list || !present(e.Path)) {
			missing = append(missing, e)
		}
	}
	add("etc/passwd", tree.NewFile("etc/passwd", 0o644, "root:x:0:0::/root:"+shell+"\n"))
	add("etc/passwd", tree.NewFile("etc/shadow", 0o600, "root:!x:::::::\n"))
	add("etc/group", tree.NewFile("etc/group", 0o644, "root:x:0:\n"))
	add("etc/group", tree.NewFile("etc/gshadow", 0o600, "root:x::\n"))
	add("etc/pam.d/other", tree.NewFile("etc/pam.d/other", 0o644, pamOther))
	add("etc/login.defs", tree.NewFile("etc/login.defs", 0o644, ""))
	return preset("preset shadow", missing...)
}

// checkShell refuses text that cannot be the last field of a passwd line.
func checkShell(shell string) error {
	switch {
	case !path.IsAbs(shell):
		return errors.New("must be an absolute path")
	case strings.Contains(shell, ":"):
		return errors.New("holds a colon, which separates the fields of /etc/passwd")
	case strings.ContainsFunc(shell, unicode.IsControl):
		return errors.New("holds a control character")
	}
	return nil
}
