package execfile

import (
	"bytes"
	"encoding/binary"
	"os"
	"runtime"
	"strings"
	"testing"
)

// program returns the beginning of an ELF program with a loader.
func program(wide bool, order binary.ByteOrder, machine uint16, loader string) []byte {
	b := make([]byte, 256)
	copy(b, "\x7fELF")
	b[4], b[5] = 1, 2
	if wide {
		b[4] = 2
	}
	if order == binary.LittleEndian {
		b[5] = 1
	}
	order.PutUint16(b[18:], machine)
	if wide {
		order.PutUint64(b[32:], 64)
		order.PutUint16(b[54:], 56)
		order.PutUint16(b[56:], 2)
		order.PutUint32(b[64:], 6)
		order.PutUint32(b[120:], 3)
		order.PutUint64(b[128:], 200)
		order.PutUint64(b[152:], uint64(len(loader)+1))
	} else {
		order.PutUint32(b[28:], 64)
		order.PutUint16(b[42:], 32)
		order.PutUint16(b[44:], 2)
		order.PutUint32(b[64:], 6)
		order.PutUint32(b[96:], 3)
		order.PutUint32(b[100:], 200)
		order.PutUint32(b[112:], uint32(len(loader)+1))
	}
	copy(b[200:], loader)
	return b
}

func TestParse(t *testing.T) {
	little, big := binary.LittleEndian, binary.BigEndian
	for name, tt := range map[string]struct {
		head string
		want Info
	}{
		"empty":          {"", Info{}},
		"text":           {"hello\n", Info{}},
		"script":         {"#! /bin/sh -e\nexit", Info{Script, "", "/bin/sh"}},
		"script of env":  {"#!/usr/bin/env bash", Info{Script, "", "/usr/bin/env"}},
		"script of DOS":  {"#!/bin/sh\r\n", Info{Script, "", "/bin/sh\r"}},
		"script without": {"#!\n", Info{Script, "", ""}},
		"macOS":          {"\xcf\xfa\xed\xfe\x0c\x00\x00\x01", Info{Kind: MachO}},
		"Windows":        {"MZ\x90\x00", Info{Kind: PE}},
		"Java":           {"\xca\xfe\xba\xbe\x00\x00\x00\x34", Info{}},
		"cut":            {"\x7fELF\x02\x01", Info{Kind: ELF}},
		"amd64":          {string(program(true, little, 62, "/lib64/ld.so")), Info{ELF, "amd64", "/lib64/ld.so"}},
		"386":            {string(program(false, little, 3, "/lib/ld.so")), Info{ELF, "386", "/lib/ld.so"}},
		"arm":            {string(program(false, little, 40, "/l")), Info{ELF, "arm", "/l"}},
		"arm64":          {string(program(true, little, 183, "/l")), Info{ELF, "arm64", "/l"}},
		"ppc64":          {string(program(true, big, 21, "/l")), Info{ELF, "ppc64", "/l"}},
		"ppc64le":        {string(program(true, little, 21, "/l")), Info{ELF, "ppc64le", "/l"}},
		"mips":           {string(program(false, big, 8, "/l")), Info{ELF, "mips", "/l"}},
		"mips64le":       {string(program(true, little, 8, "/l")), Info{ELF, "mips64le", "/l"}},
		"s390x":          {string(program(true, big, 22, "/l")), Info{ELF, "s390x", "/l"}},
		"another":        {string(program(true, little, 9999, "/l")), Info{ELF, "", "/l"}},
		"loader far off": {string(program(true, little, 62, "/l")[:190]), Info{ELF, "amd64", ""}},
	} {
		if got := Parse([]byte(tt.head)); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}

// TestParseOwn: this test is a program of this machine.
func TestParseOwn(t *testing.T) {
	name, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	got := Parse(data[:HeadSize])
	if runtime.GOOS == "linux" && (got.Kind != ELF || got.Architecture != runtime.GOARCH) || runtime.GOOS == "darwin" && got.Kind != MachO {
		t.Errorf("%+v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(program(true, binary.LittleEndian, 62, "/lib64/ld.so"))
	f.Add(program(false, binary.BigEndian, 8, "/l"))
	f.Add([]byte("#!/bin/sh"))
	f.Fuzz(func(t *testing.T, head []byte) {
		got := Parse(head)
		if !bytes.Contains(head, []byte(got.Interpreter)) || strings.HasSuffix(got.Interpreter, "\x00") {
			t.Errorf("interpreter %q of %q", got.Interpreter, head)
		}
	})
}
