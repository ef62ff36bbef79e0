//go:build amd64 || arm64

package userns

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// runError explains why the kernel did not run a program: it says ENOENT of many
// things, and does not say which file it means.
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
		return "it is no regular file"
	case st.Mode()&0o111 == 0:
		return fmt.Sprintf("nobody may execute it (mode %04o)", st.Mode().Perm())
	}
	f, openErr := os.Open(program)
	if openErr != nil {
		return ""
	}
	defer f.Close()
	return whyNotLoaded(f, err)
}

// maxHead is how much of a program is looked at.
const maxHead = 4096

// whyNotLoaded explains an error of the kernel with a program that is there.
func whyNotLoaded(f io.Reader, err error) string {
	head, readErr := io.ReadAll(io.LimitReader(f, maxHead))
	if readErr != nil {
		return ""
	}
	machine, loader, isELF := readELF(head)
	switch {
	case errors.Is(err, unix.ENOEXEC) && isELF && machine != machines[runtime.GOARCH]:
		return fmt.Sprintf("it is for another kind of machine (%v) than this (%v): take an image for this platform, or build on one of that", machine, machines[runtime.GOARCH])
	case errors.Is(err, unix.ENOEXEC) && !isELF:
		return "it is neither a program nor a script that begins with #!"
	case errors.Is(err, unix.ENOENT) && loader != "":
		return fmt.Sprintf("the loader that it asks for is not there: %q", loader)
	case errors.Is(err, unix.ENOENT) && interpreterOf(head) != "":
		return fmt.Sprintf("the interpreter that it asks for is not there: %q", interpreterOf(head))
	}
	return ""
}

// machines are what programs for an architecture are marked with.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// readELF reads for which machine a program is, and which loader it asks for, if
// that is among its first bytes (elf(5)).
func readELF(head []byte) (m elf.Machine, loader string, ok bool) {
	if !bytes.HasPrefix(head, []byte(elf.ELFMAG)) || len(head) < 20 {
		return 0, "", false
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	m = elf.Machine(order.Uint16(head[18:]))
	var header elf.Header64
	if elf.Class(head[elf.EI_CLASS]) != elf.ELFCLASS64 || !decode(head, 0, order, &header) {
		return m, "", true
	}
	for i := range uint64(header.Phnum) {
		var p elf.Prog64
		if !decode(head, header.Phoff+i*uint64(binary.Size(p)), order, &p) {
			break
		}
		if elf.ProgType(p.Type) == elf.PT_INTERP && p.Off < uint64(len(head)) {
			text, _, found := bytes.Cut(head[p.Off:], []byte{0})
			if found {
				return m, string(text), true
			}
		}
	}
	return m, "", true
}

// decode reads v at an offset, which may be any number.
func decode(data []byte, at uint64, order binary.ByteOrder, v any) bool {
	if at > uint64(len(data)) {
		return false
	}
	_, err := binary.Decode(data[at:], order, v)
	return err == nil
}
