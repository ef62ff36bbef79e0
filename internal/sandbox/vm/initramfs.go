package vm

import (
	"bufio"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"

	"github.com/cavaliergopher/cpio"

	"github.com/varve-image/varve/internal/regfile"
)

// The names of the guest's first file system.
const (
	initPath    = "/init"
	requestPath = "/request.json"
	modulesDir  = "/modules"
)

// initramfs writes the guest's first file system: the program, the kernel's modules and the
// request (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).
type initramfs struct {
	w    *cpio.Writer
	made map[string]bool
}

// writeInitramfs writes the whole file system.
func writeInitramfs(out io.Writer, program string, k kernel, req *request) error {
	buffered := bufio.NewWriterSize(out, 1<<20)
	a := &initramfs{cpio.NewWriter(buffered), map[string]bool{"/": true}}
	text, err := json.Marshal(req) //nolint:staticcheck // SA1026: the step has no tree, whose entries have functions
	if err != nil {
		return err
	}
	if err := a.file(initPath, program, 0o755); err != nil {
		return err
	}
	if err := a.add(&cpio.Header{Name: requestPath, Mode: cpio.TypeReg | 0o600, Size: int64(len(text))}, strings.NewReader(string(text))); err != nil {
		return err
	}
	for _, m := range req.Modules {
		if err := a.file(path.Join(modulesDir, m), filepath.Join(k.modules, m), 0o600); err != nil {
			return err
		}
	}
	return errors.Join(a.w.Close(), buffered.Flush())
}

// file adds a file of the host.
func (a *initramfs) file(name, source string, mode cpio.FileMode) error {
	f, err := regfile.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	return a.add(&cpio.Header{Name: name, Mode: cpio.TypeReg | mode, Size: st.Size()}, f)
}

// add adds an entry, preceded by the directories that it is in.
func (a *initramfs) add(h *cpio.Header, content io.Reader) error {
	if dir := path.Dir(h.Name); !a.made[dir] {
		a.made[dir] = true
		if err := a.add(&cpio.Header{Name: dir, Mode: cpio.TypeDir | 0o755}, nil); err != nil {
			return err
		}
	}
	named := *h
	named.Name = strings.TrimPrefix(h.Name, "/")
	if err := a.w.WriteHeader(&named); err != nil {
		return err
	}
	if content == nil {
		return nil
	}
	_, err := io.CopyN(a.w, content, h.Size)
	return err
}

// checkStatic refuses a program that could not run alone in the guest.
func checkStatic(program string) error {
	f, err := elf.Open(program)
	if err != nil {
		return fmt.Errorf("read program %q: %w", program, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return missing(fmt.Errorf("%q needs shared libraries, and a virtual machine runs it alone", program), "build varve with CGO_ENABLED=0")
		}
	}
	return nil
}
