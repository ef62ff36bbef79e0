//go:build amd64 || arm64

package program

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/execfile"
	"github.com/varve-image/varve/internal/regfile"
)

// runError explains why the kernel did not run a program: it returns ENOENT for many
// reasons, and does not say which file it means.
func runError(program string, err error) error {
	if why := whyNotRun(program, err); why != "" {
		return fmt.Errorf("run %q: %s", program, why)
	}
	return fmt.Errorf("run %q: %w", program, err)
}

func whyNotRun(program string, err error) string {
	link, linkErr := os.Readlink(program)
	st, statErr := os.Stat(program)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return "there are as many processes as the limit allows"
	case linkErr == nil && errors.Is(statErr, unix.ELOOP):
		return fmt.Sprintf("it is a symlink to %q, and leads back to itself", link)
	case linkErr == nil && statErr != nil:
		return fmt.Sprintf("it is a symlink to %q, which leads nowhere", link)
	case errors.Is(statErr, unix.ENOENT):
		return "it is not there"
	case statErr != nil:
		return ""
	case !st.Mode().IsRegular():
		return "it is not a regular file"
	case st.Mode()&0o111 == 0:
		return fmt.Sprintf("nobody may execute it (mode %04o)", st.Mode().Perm())
	}
	f, openErr := regfile.Open(program)
	if openErr != nil {
		return ""
	}
	defer f.Close()
	return whyNotLoaded(f, err)
}

// whyNotLoaded explains why the kernel does not run a program that exists.
func whyNotLoaded(f io.Reader, err error) string {
	head, readErr := io.ReadAll(io.LimitReader(f, execfile.HeadSize))
	if readErr != nil {
		return ""
	}
	info := execfile.Parse(head)
	switch {
	case errors.Is(err, unix.ENOEXEC) && info.Architecture != "" && info.Architecture != runtime.GOARCH:
		return fmt.Sprintf("it is for another kind of machine (%q) than this (%q): take an image for this platform, or build on one of that", info.Architecture, runtime.GOARCH)
	case errors.Is(err, unix.ENOEXEC) && (info.Kind == execfile.MachO || info.Kind == execfile.PE):
		return fmt.Sprintf("it is a program of another system (%s)", info.Kind)
	case errors.Is(err, unix.ENOEXEC) && info.Architecture == "":
		return "it is neither a program nor a script that begins with #!"
	case errors.Is(err, unix.ENOENT) && info.Interpreter != "" && info.Kind == execfile.ELF:
		return fmt.Sprintf("the loader that it asks for is not there: %q", info.Interpreter)
	case errors.Is(err, unix.ENOENT) && info.Interpreter != "":
		return fmt.Sprintf("the interpreter that it asks for is not there: %q", info.Interpreter)
	}
	return ""
}
