// Package execfile finds out from a program's beginning which machine it is for and
// what runs it.
//
// Guarantees: the first HeadSize bytes decide; whatever they are, allocations are
// limited by them, and what cannot be determined from them is left empty.
//
// Non-goals: whether the rest of the program is sound, libraries.
package execfile

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// HeadSize is how many bytes of a program are examined. Linkers put the needed
// parts into the first page.
const HeadSize = 4096

// The kinds of programs.
const (
	ELF    = "ELF"
	MachO  = "Mach-O" // macOS
	PE     = "PE"     // Windows
	Script = "script"
)

// Info describes a program.
type Info struct {
	// Kind is one of the constants; empty for anything else.
	Kind string
	// Architecture is the machine that an ELF program is for, in Go's names; empty
	// if Go has no name for it.
	Architecture string
	// Interpreter is the program that runs this one, if there is one: an ELF
	// program's loader, or what follows a script's #!.
	Interpreter string
}

// Parse examines the beginning of a program.
func Parse(head []byte) Info {
	switch {
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		return parseELF(head)
	case bytes.HasPrefix(head, []byte("#!")):
		return Info{Kind: Script, Interpreter: scriptInterpreter(string(head[2:]))}
	case len(head) >= 4 && isMachO(binary.BigEndian.Uint32(head)):
		return Info{Kind: MachO}
	case bytes.HasPrefix(head, []byte("MZ")):
		return Info{Kind: PE}
	}
	return Info{}
}

// scriptInterpreter returns the first word after #!, as Linux reads it: a carriage
// return is part of it (binfmt_script.c).
func scriptInterpreter(text string) string {
	if end := strings.IndexAny(text, "\n\x00"); end >= 0 {
		text = text[:end]
	}
	text, _, _ = strings.Cut(strings.TrimLeft(text, " \t"), " ")
	text, _, _ = strings.Cut(text, "\t")
	return text
}

// isMachO recognises the magic numbers of 32 and 64 bits in either byte order
// (mach-o/loader.h). The number of programs for several machines is Java's too, and
// is left out.
func isMachO(magic uint32) bool {
	switch magic {
	case 0xfeedface, 0xfeedfacf, 0xcefaedfe, 0xcffaedfe:
		return true
	}
	return false
}

// The offsets in an ELF header (elf(5)) that are read.
const (
	class64            = 2
	littleEndian       = 1
	segmentInterpreter = 3
)

// elf is the beginning of an ELF program.
type elf struct {
	head  []byte
	order binary.ByteOrder
	wide  bool
}

func parseELF(head []byte) Info {
	info := Info{Kind: ELF}
	if len(head) < 64 {
		return info
	}
	e := elf{head: head, order: binary.BigEndian, wide: head[4] == class64}
	if head[5] == littleEndian {
		e.order = binary.LittleEndian
	}
	info.Architecture = e.architecture()
	info.Interpreter = e.interpreter()
	return info
}

// architecture returns Go's name for e_machine.
func (e elf) architecture() string {
	little := e.order == binary.LittleEndian
	pick := func(whenLittle, whenBig string) string {
		if little {
			return whenLittle
		}
		return whenBig
	}
	switch e.order.Uint16(e.head[18:]) {
	case 3:
		return "386"
	case 8:
		if e.wide {
			return pick("mips64le", "mips64")
		}
		return pick("mipsle", "mips")
	case 21:
		return pick("ppc64le", "ppc64")
	case 22:
		return "s390x"
	case 40:
		return "arm"
	case 62:
		return "amd64"
	case 183:
		return "arm64"
	case 243:
		return "riscv64"
	case 258:
		return "loong64"
	}
	return ""
}

// interpreter returns the text of the segment that names the loader, if the head
// contains both.
func (e elf) interpreter() string {
	at, size, count := uint64(e.order.Uint32(e.head[28:])), e.order.Uint16(e.head[42:]), e.order.Uint16(e.head[44:])
	if e.wide {
		at, size, count = e.order.Uint64(e.head[32:]), e.order.Uint16(e.head[54:]), e.order.Uint16(e.head[56:])
	}
	for range count {
		segment, ok := e.part(at, 56)
		if !ok {
			return ""
		}
		if e.order.Uint32(segment) == segmentInterpreter {
			offset, length := uint64(e.order.Uint32(segment[4:])), uint64(e.order.Uint32(segment[16:]))
			if e.wide {
				offset, length = e.order.Uint64(segment[8:]), e.order.Uint64(segment[32:])
			}
			text, _ := e.part(offset, length)
			return string(bytes.TrimRight(text, "\x00"))
		}
		at += uint64(size)
	}
	return ""
}

// part returns a piece of the head, if the head contains all of it.
func (e elf) part(at, size uint64) ([]byte, bool) {
	end := uint64(len(e.head))
	if at > end || size > end-at {
		return nil, false
	}
	return e.head[at : at+size], true
}
