//go:build amd64 || arm64

package program

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// program returns the head of an ELF program that asks for a loader.
func program(t *testing.T, m elf.Machine, loader string) []byte {
	t.Helper()
	header := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(m), Phoff: 64, Phentsize: 56, Phnum: 2}
	copy(header.Ident[:], elf.ELFMAG+"\x02\x01\x01")
	var b bytes.Buffer
	for _, part := range []any{header, elf.Prog64{Type: uint32(elf.PT_LOAD)}, elf.Prog64{Type: uint32(elf.PT_INTERP), Off: 64 + 2*56, Filesz: uint64(len(loader) + 1)}, []byte(loader + "\x00")} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestWhyNotLoaded(t *testing.T) {
	foreign := program(t, elf.EM_S390, "/lib/ld.so")
	farAway := program(t, elf.EM_S390, "/lib/ld.so")
	binary.LittleEndian.PutUint64(farAway[32:], 1<<63) // e_phoff
	for name, c := range map[string]struct {
		head []byte
		err  error
		want string
	}{
		"loader":           {foreign, unix.ENOENT, `the loader that it asks for is not there: "/lib/ld.so"`},
		"other machine":    {foreign, unix.ENOEXEC, `"s390x"`},
		"cut":              {foreign[:100], unix.ENOENT, ""},
		"only magic":       {foreign[:4], unix.ENOEXEC, "neither a program"},
		"far away":         {farAway, unix.ENOENT, ""},
		"script":           {[]byte("#! /bin/x y\nz"), unix.ENOENT, `"/bin/x"`},
		"empty first line": {[]byte("#!\n"), unix.ENOENT, ""},
		"text":             {[]byte("echo"), unix.ENOEXEC, "neither a program"},
		"empty":            {nil, unix.ENOEXEC, "neither a program"},
		"another error":    {foreign, unix.EACCES, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := whyNotLoaded(bytes.NewReader(c.head), c.err)
			if !strings.Contains(got, c.want) || c.want == "" && got != "" {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
