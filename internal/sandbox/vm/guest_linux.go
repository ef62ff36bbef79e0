//go:build amd64

package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/userns"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// Paths in the guest, for what does not have the path that it has on the host.
const (
	diskDir   = "/disk"         // the disk, before it is the root directory
	sharesDir = "/varve-shares" // what is shown of the host, by number
	bindsDir  = "/varve-binds"  // what is bound into the step
	tempDir   = "/varve-temp"
	// The disks, in the order of the machine's arguments.
	diskDevice, treeDevice, changesDevice = "/dev/vda", "/dev/vdb", "/dev/vdc"
)

// Main runs the first process of a virtual machine, if this process is one: it does its
// work and ends the machine. In any other process it returns false at once.
func Main() (code int, ok bool) {
	if os.Getpid() != 1 || os.Args[0] != initPath {
		return 0, false
	}
	if _, err := os.Stat(requestPath); err != nil {
		return 0, false
	}
	if err := guest(); err != nil {
		fmt.Fprintf(os.Stderr, "varve: %v\n", err)
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	return 1, true
}

// guest sets up what the kernel leaves to the first process, runs the step and reports.
func guest() error {
	text, err := os.ReadFile(requestPath)
	if err != nil {
		return err
	}
	var req request
	if err := json.Unmarshal(text, &req); err != nil {
		return err
	}
	if err := raiseLimits(); err != nil {
		return err
	}
	if err := mountKernel("/"); err != nil {
		return err
	}
	if err := loadModules(req.Modules); err != nil {
		return err
	}
	port, err := openPort(stepPort)
	if err != nil {
		return err
	}
	frames := &frameWriter{w: port}
	if err := frames.write(frameHello, nil); err != nil {
		return err
	}
	changes, err := runStep(&req, port, frames)
	rep := report{Changes: changes}
	if err != nil {
		rep = reportOf(err)
	}
	rep.Error = rep.Error[:min(len(rep.Error), maxError)]
	if err := frames.writeJSON(frameReport, rep); err != nil {
		return err
	}
	// The host ends the machine when it has read the answer, which ends this process too.
	_, err = io.Copy(io.Discard, port)
	return err
}

// runStep runs the step on the disk and writes its changes. It returns the length of their
// layer.
func runStep(req *request, port io.Reader, frames *frameWriter) (int64, error) {
	if err := enterDisk(req); err != nil {
		return 0, err
	}
	ctx := context.Background()
	source := &diskTar{path: treeDevice, size: req.Tree}
	overlay, err := tree.OpenOverlay(ctx, []tree.LayerSource{source}, tree.OverlayOptions{TempDir: tempDir, MaxEntries: 1 << 30, Exact: true})
	if err != nil {
		return 0, fmt.Errorf("read the tree: %w", err)
	}
	defer overlay.Close()
	step := req.Step
	step.Tree = overlay.Entries
	step.Stdout, step.Stderr = stream{frames, frameStdout}, stream{frames, frameStderr}
	if req.OneOutput {
		step.Stderr = step.Stdout
	}
	input(ctx, req, &step, port)
	res, err := userns.New(sandbox.Options{TempDir: tempDir}).Run(ctx, &step)
	if err != nil {
		return 0, err
	}
	defer res.Close()
	return writeChanges(ctx, res.Changes)
}

// input passes on what the host sends.
func input(ctx context.Context, req *request, step *sandbox.Step, port io.Reader) {
	r, w := io.Pipe()
	if req.Stdin {
		step.Stdin = r
	}
	resize := make(chan sandbox.TerminalSize, 1)
	if req.Terminal != nil {
		step.Terminal = &sandbox.Terminal{Size: *req.Terminal, Resize: resize}
	}
	go func() {
		buf := make([]byte, maxFrame)
		for {
			kind, data, err := readFrame(port, buf)
			switch {
			case err != nil:
				w.CloseWithError(err)
				return
			case kind == frameStdin && len(data) == 0:
				w.Close()
			case kind == frameStdin:
				_, _ = w.Write(data) // a step that has ended no longer reads
			case kind == frameResize:
				var size sandbox.TerminalSize
				if json.Unmarshal(data, &size) == nil {
					select {
					case resize <- size:
					case <-ctx.Done():
					}
				}
			}
		}
	}()
}

// writeChanges writes a layer to the third disk.
func writeChanges(ctx context.Context, entries []*tree.Entry) (int64, error) {
	f, err := os.OpenFile(changesDevice, os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	w := layer.NewWriter(f, layer.GNU, "./")
	for _, e := range entries {
		if err := w.Write(ctx, e); err != nil {
			return 0, fmt.Errorf("write the changes: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return 0, fmt.Errorf("write the changes: %w", err)
	}
	n, err := f.Seek(0, io.SeekCurrent)
	return n, errors.Join(err, f.Sync())
}

// diskTar is a tar on a disk, which is longer.
type diskTar struct {
	path string
	size int64
}

func (d *diskTar) Title() string { return "the tree" }

func (d *diskTar) Open(context.Context) (io.ReadCloser, error) {
	f, err := os.Open(d.path)
	if err != nil {
		return nil, err
	}
	return struct {
		*io.SectionReader
		io.Closer
	}{io.NewSectionReader(f, 0, d.size), f}, nil
}

// raiseLimits raises the limits that a kernel with little memory starts with, so that the
// step's own can be set.
func raiseLimits() error {
	const most = 1 << 20
	for _, which := range []int{unix.RLIMIT_NPROC, unix.RLIMIT_NOFILE} {
		if err := unix.Setrlimit(which, &unix.Rlimit{Cur: most, Max: most}); err != nil {
			return fmt.Errorf("raise limits: %w", err)
		}
	}
	return nil
}

// mountKernel mounts the kernel's file systems below dir.
func mountKernel(dir string) error {
	for _, m := range []struct{ source, target, kind string }{
		{"dev", "dev", "devtmpfs"}, {"devpts", "dev/pts", "devpts"}, {"proc", "proc", "proc"}, {"sysfs", "sys", "sysfs"},
	} {
		at := path.Join(dir, m.target)
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.source, at, m.kind, unix.MS_NOSUID|unix.MS_NOEXEC, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", at, err)
		}
	}
	return nil
}

// moduleCompressed tells the kernel to decompress a module
// (MODULE_INIT_COMPRESSED_FILE, include/uapi/linux/module.h).
const moduleCompressed = 4

func loadModules(files []string) error {
	for _, name := range files {
		f, err := os.Open(path.Join(modulesDir, name))
		if err != nil {
			return err
		}
		flags := 0
		if !strings.HasSuffix(name, ".ko") {
			flags = moduleCompressed
		}
		err = unix.FinitModule(int(f.Fd()), "", flags)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load module %s: %w", name, err)
		}
	}
	return nil
}

// portTime limits the wait for a port: the kernel learns of ports, and then of their names,
// while it runs on, which takes a while on a busy machine.
const portTime = time.Minute

// openPort opens the virtio serial port with a name, once it exists.
func openPort(name string) (*os.File, error) {
	const pause = 10 * time.Millisecond
	for range portTime / pause {
		port, err := findPort(name)
		if err != nil {
			return nil, err
		}
		if port != "" {
			return os.OpenFile("/dev/"+port, os.O_RDWR, 0)
		}
		time.Sleep(pause)
	}
	return nil, fmt.Errorf("there is no port called %q", name)
}

// findPort returns the device of a port, or "" where there is none yet.
func findPort(name string) (string, error) {
	const class = "/sys/class/virtio-ports"
	ports, err := os.ReadDir(class)
	if err != nil {
		return "", err
	}
	for _, p := range ports {
		text, err := os.ReadFile(filepath.Join(class, p.Name(), "name"))
		if err == nil && string(bytes.TrimSpace(text)) == name {
			return p.Name(), nil
		}
	}
	return "", nil
}

// enterDisk makes the disk the root directory, with what the step sees of the host at its
// place there. The first file system cannot remain the root directory, because it can never
// be replaced.
func enterDisk(req *request) error {
	if err := os.Mkdir(diskDir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(diskDevice, diskDir, "ext4", unix.MS_NOATIME, ""); err != nil {
		return fmt.Errorf("mount the disk: %w", err)
	}
	if err := mountKernel(diskDir); err != nil {
		return err
	}
	if err := os.MkdirAll(diskDir+tempDir, 0o755); err != nil {
		return err
	}
	if err := mountShares(req.Shares); err != nil {
		return err
	}
	for _, l := range req.Links {
		if err := os.MkdirAll(path.Dir(diskDir+l.Path), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(l.Text, diskDir+l.Path); err != nil {
			return err
		}
	}
	if err := errors.Join(os.Chdir(diskDir), unix.Mount(".", "/", "", unix.MS_MOVE, ""), unix.Chroot("."), os.Chdir("/")); err != nil {
		return fmt.Errorf("make the disk the root directory: %w", err)
	}
	return nil
}

// mountShares mounts what the step sees of the host: everything in one file system, and
// each share from there at its place.
func mountShares(shares []share) error {
	if len(shares) == 0 {
		return nil
	}
	port, err := openPort(filesPort)
	if err != nil {
		return err
	}
	all := diskDir + sharesDir
	if err := os.Mkdir(all, 0o755); err != nil {
		return err
	}
	if err := mountHost(newFileClient(port), all); err != nil {
		return fmt.Errorf("mount the machine's files: %w", err)
	}
	for i, s := range shares {
		if err := bindShare(path.Join(all, strconv.Itoa(i)), diskDir+s.Path); err != nil {
			return fmt.Errorf("mount the machine's %s: %w", s.Path, err)
		}
	}
	return nil
}

// bindShare mounts a file or directory at another place, which it makes.
func bindShare(from, at string) error {
	st, err := os.Stat(from)
	if err != nil {
		return err
	}
	dir := at
	if !st.IsDir() {
		dir = path.Dir(at)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if !st.IsDir() {
		if err := os.WriteFile(at, nil, 0o644); err != nil {
			return err
		}
	}
	return unix.Mount(from, at, "", unix.MS_BIND, "")
}
