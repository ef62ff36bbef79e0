package vm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/varve-image/varve/internal/regfile"
)

// kernel is a kernel to start, and the modules that it needs.
type kernel struct {
	path, modules string
}

// KernelError says that there is no usable kernel for a virtual machine: Options.Kernel can
// name one. It is wrapped in a *lack.Error.
type KernelError struct {
	Err   error
	Fault KernelFault
}

func (e *KernelError) Error() string { return e.Err.Error() }

func (e *KernelError) Unwrap() error { return e.Err }

// KernelFault says what is wrong with a kernel.
type KernelFault int

// The faults.
const (
	// KernelAbsent means that the machine has no kernel, or no kernel with its modules.
	KernelAbsent KernelFault = iota + 1
	// KernelNamed means that the file in Options.Kernel is not a kernel, or that its
	// modules are not where they are expected: in lib/modules beside it.
	KernelNamed
	// KernelUnfit means that the kernel lacks something that a guest uses.
	KernelUnfit
)

// maxModuleList limits modules.dep and modules.builtin, in bytes: Debian's have less than 1
// MiB.
const maxModuleList = 16 << 20

// neededModules returns the modules that a guest uses, unless the kernel has them built in.
func neededModules() []string {
	return []string{"virtio_pci", "virtio_blk", "virtio_console", "ext4", "fuse"}
}

// findKernel returns the kernel that the options name, or the machine's newest one that has
// its modules.
func findKernel(opts Options) (kernel, error) {
	if opts.Kernel != "" {
		k, err := describeKernel(opts.Kernel, opts.Modules)
		if err != nil {
			return kernel{}, missing(&KernelError{err, KernelNamed})
		}
		return k, nil
	}
	files, err := filepath.Glob("/boot/vmlinuz-*")
	if err != nil {
		return kernel{}, err
	}
	slices.Sort(files)
	var errs []error
	for _, file := range slices.Backward(files) {
		k, err := describeKernel(file, opts.Modules)
		if err == nil {
			return k, nil
		}
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return kernel{}, missing(&KernelError{errors.Join(errs...), KernelAbsent})
	}
	return kernel{}, missing(&KernelError{errors.New("there is no kernel in /boot for a virtual machine"), KernelAbsent})
}

func describeKernel(file, modules string) (kernel, error) {
	version, err := kernelVersion(file)
	if err != nil {
		return kernel{}, fmt.Errorf("kernel %q: %w", file, err)
	}
	dirs := []string{modules}
	if modules == "" {
		beside := filepath.Dir(file)
		dirs = []string{
			filepath.Join(beside, "../lib/modules", version), filepath.Join(beside, "lib/modules", version),
			filepath.Join("/lib/modules", version),
		}
	}
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "modules.dep")); err == nil {
			return kernel{file, dir}, nil
		}
	}
	return kernel{}, fmt.Errorf("kernel %q: its modules are not in %q", file, dirs)
}

// kernelVersion reads the version of a bzImage (Linux,
// Documentation/arch/x86/boot.rst).
func kernelVersion(file string) (string, error) {
	f, err := regfile.Open(file)
	if err != nil {
		return "", errors.Unwrap(err)
	}
	defer f.Close()
	var head [0x210]byte
	if _, err := io.ReadFull(f, head[:]); err != nil || string(head[0x202:0x206]) != "HdrS" {
		return "", errors.New("it is not a kernel for x86 (bzImage)")
	}
	var text [256]byte
	at := int64(binary.LittleEndian.Uint16(head[0x20e:])) + 0x200
	n, err := f.ReadAt(text[:], at)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	version, _, _ := bytes.Cut(text[:n], []byte{' '})
	if len(version) == 0 || bytes.ContainsAny(version, "/\x00") {
		return "", errors.New("it does not say its version")
	}
	return string(version), nil
}

// moduleFiles returns the files of the modules that a guest needs, each after those that it
// depends on (depmod(8), modules.dep).
func (k kernel) moduleFiles() ([]string, error) {
	depends, err := k.dependencies()
	if err != nil {
		return nil, err
	}
	builtin, err := regfile.Read(filepath.Join(k.modules, "modules.builtin"), maxModuleList)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	have := map[string]bool{}
	for line := range strings.Lines(string(builtin)) {
		have[moduleName(strings.TrimSpace(line))] = true
	}
	byName := map[string]string{}
	for file := range depends {
		byName[moduleName(file)] = file
	}
	var files []string
	var lacking []string
	for _, name := range neededModules() {
		file, ok := byName[name]
		switch {
		case have[name]:
			continue
		case !ok:
			lacking = append(lacking, name)
			continue
		}
		for _, f := range append(slices.Clone(depends[file]), file) {
			if !slices.Contains(files, f) {
				files = append(files, f)
			}
		}
	}
	if len(lacking) > 0 {
		return nil, missing(&KernelError{fmt.Errorf("kernel %q has no modules %q", k.path, lacking), KernelUnfit})
	}
	return files, nil
}

// dependencies reads modules.dep: for each file the files to load before it, in that order.
func (k kernel) dependencies() (map[string][]string, error) {
	list, err := regfile.Read(filepath.Join(k.modules, "modules.dep"), maxModuleList)
	if err != nil {
		return nil, err
	}
	depends := map[string][]string{}
	for line := range strings.Lines(string(list)) {
		file, before, _ := strings.Cut(line, ":")
		first := strings.Fields(before)
		slices.Reverse(first) // the file lists the nearest first
		depends[file] = first
	}
	return depends, nil
}

// moduleName returns a module's file name without extensions: in names - and _ are the
// same.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".")
	return strings.ReplaceAll(name, "-", "_")
}
