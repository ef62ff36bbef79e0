package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/nixstore/nixdb"
	"github.com/varve-image/varve/internal/nixstore/nixstate"
	"github.com/varve-image/varve/internal/testtools"
)

// machines are two network namespaces with a wire between them. Each has a directory of its own at
// the same path.
type machines struct{ dir, one, two string }

// registryHost is where the registry of the first machine listens.
const registryHost = "10.231.0.1:5000"

func newMachines(t *testing.T) machines {
	t.Helper()
	testtools.NeedRoot(t)
	testtools.Need(t, "ip")
	testtools.Need(t, "unshare")
	m := machines{openDir(t, ""), fmt.Sprintf("varve-test-%d-1", os.Getpid()), fmt.Sprintf("varve-test-%d-2", os.Getpid())}
	makeDirs(t, filepath.Join(m.dir, "here"))
	for _, name := range []string{m.one, m.two} {
		if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
			testtools.Lack(t, "a network namespace: %s", out)
		}
		t.Cleanup(func() { tool(t, "ip", "netns", "del", name) })
		makeDirs(t, m.at(name, "home"))
	}
	if out, err := exec.Command("ip", "-n", m.one, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", m.two).CombinedOutput(); err != nil {
		testtools.Lack(t, "a virtual network: %s", out)
	}
	for i, name := range []string{m.one, m.two} {
		tool(t, "ip", "-n", name, "addr", "add", fmt.Sprintf("10.231.0.%d/24", i+1), "dev", "wire")
		tool(t, "ip", "-n", name, "link", "set", "wire", "up")
		tool(t, "ip", "-n", name, "link", "set", "lo", "up")
	}
	return m
}

// at returns where a file of a machine's is outside of it.
func (m machines) at(machine, name string) string { return filepath.Join(m.dir, machine, name) }

// command returns a command that runs a program in a machine.
func (m machines) command(machine string, args ...string) *exec.Cmd {
	here := filepath.Join(m.dir, "here")
	cmd := exec.Command("ip", append([]string{"netns", "exec", machine, "unshare", "--mount", "sh", "-c", `mount --bind "$1" "$2" && cd "$2" && shift 2 && exec "$@"`,
		"sh", m.at(machine, ""), here}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + here + "/home", "TMPDIR=" + os.TempDir(), "OTEL_TRACES_EXPORTER=none"}
	return cmd
}

// serve starts a registry in the first machine.
func (m machines) serve(t *testing.T, program string) {
	t.Helper()
	put(t, m.at(m.one, "config.yml"), fmt.Sprintf("version: 0.1\nlog: {level: warn}\nstorage:\n  filesystem: {rootdirectory: %q}\nhttp:\n  addr: %q\n", t.TempDir(), registryHost), 0o644)
	cmd := m.command(m.one, program, "serve", "config.yml")
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for end := time.Now().Add(6 * deadline); ; time.Sleep(20 * time.Millisecond) {
		if o := run(t, m.command(m.one, shipped.get(t), "inspect", "docker://"+registryHost+"/team/app:0", "--insecure", registryHost)); !strings.Contains(o.stderr, "refused") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not answer: %s", program, log.String())
		}
	}
}

// closure are the store paths of an image, which has two files of each; the last one needs all others.
func closure(top string) (paths []nixstate.Path) {
	for i, name := range []string{"libc-1", "zlib-2", "openssl-3", "curl-4", top} {
		p := nixstate.Path{PathInfo: nixstore.PathInfo{Path: fmt.Sprintf("/nix/store/%s-%s", strings.Repeat(string("abcdfg"[i]), 31)+name[len(name)-1:], name)}}
		p.NarHash, p.NarSize = digest.FromString(name), 1000
		for _, below := range paths {
			p.References = append(p.References, below.Path)
		}
		paths = append(paths, p)
	}
	return paths
}

// install makes a store with a closure and its database.
func (m machines) install(t *testing.T, machine string, paths []nixstate.Path) {
	t.Helper()
	root := m.at(machine, "root")
	must(t, os.RemoveAll(root))
	for _, p := range paths {
		_, name, _ := strings.Cut(filepath.Base(p.Path), "-")
		for _, kind := range []string{"small", "large"} {
			text := strings.Repeat(name+" ", map[string]int{"small": 10, "large": 50_000}[kind])
			put(t, filepath.Join(root, p.Path, "lib", kind+"-of-"+name), text, 0o444)
		}
	}
	database := filepath.Join(root, nixstate.Place(nixstore.DefaultStoreDir))
	makeDirs(t, filepath.Dir(database))
	f, err := os.Create(database)
	must(t, err)
	must(t, nixdb.Write(t.Context(), f, paths), f.Close())
	put(t, m.at(machine, "image.yaml"), "name: app\ntag: \"1\"\ncontents: ["+paths[len(paths)-1].Path+"]\n", 0o644)
}

// counts is the last line of --progress json.
type counts struct {
	Event                                              string
	Hashed, Compressed, Reused, Sent, Skipped, Mounted struct{ Layers, Files, Bytes int64 }
}

// push builds the image on a machine, under strace, and returns what was done and which files of the
// store were opened.
func (m machines) push(t *testing.T, machine, tag string, args ...string) (c counts, opened []string) {
	t.Helper()
	strace := testtools.Need(t, "strace")
	cmd := append([]string{strace, "-f", "-qq", "-e", "trace=open,openat,openat2,execve", "-o", "trace", shipped.get(t), "build", "image.yaml", "--root", "root", "--progress", "json",
		"-o", "docker://" + registryHost + "/team/app:" + tag, "--insecure", registryHost}, args...)
	o := run(t, m.command(machine, cmd...))
	if strings.Contains(o.stderr, "ptrace") {
		testtools.Lack(t, "strace cannot trace here: %s", o.stderr)
	}
	if o.code != 0 {
		t.Fatalf("exit code %d: %s", o.code, o.stderr)
	}
	lines := strings.Split(strings.TrimSpace(o.stderr), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &c); err != nil || c.Event != "total" {
		t.Fatalf("the last line is not the total: %v: %s", err, o.stderr)
	}
	trace, err := os.ReadFile(m.at(machine, "trace"))
	must(t, err)
	for line := range strings.Lines(string(trace)) {
		if strings.Contains(line, "small-of-") || strings.Contains(line, "large-of-") {
			opened = append(opened, line)
		}
	}
	return c, opened
}

// TestSecondMachine: a machine that has never seen an image, with the same store, reads, compresses and
// sends what is not in the registry yet, and nothing else.
func TestSecondMachine(t *testing.T) {
	programs := 0
	for _, program := range []string{"docker-registry", "registry"} { // Debian's is version 2; the project calls its own so
		if _, err := exec.LookPath(program); err != nil {
			continue
		}
		programs++
		t.Run(program, func(t *testing.T) {
			m := newMachines(t)
			m.serve(t, program)
			raw := func(tag string) string {
				o := run(t, m.command(m.one, shipped.get(t), "inspect", "--raw", "docker://"+registryHost+"/team/app:"+tag, "--insecure", registryHost))
				if o.code != 0 {
					t.Errorf("exit code %d: %s", o.code, o.stderr)
				}
				return o.stdout
			}
			paths := closure("app-5")
			for _, machine := range []string{m.one, m.two} {
				m.install(t, machine, paths)
			}
			first, opened := m.push(t, m.one, "1")
			layers := int64(len(paths)) + 1
			if first.Hashed.Layers != layers || first.Sent.Layers != layers || len(opened) < 2*len(paths) {
				t.Errorf("first: %+v, opened %q", first, opened)
			}
			from := []string{"--cache-from", "docker://" + registryHost + "/team/app:1"}
			second, opened := m.push(t, m.two, "2", from...)
			// The top layer has nothing of the store.
			if len(opened) > 0 || second.Hashed.Files > 0 || second.Compressed.Layers > 0 || second.Sent.Layers > 0 || second.Reused.Layers != layers-1 || second.Skipped.Layers != layers {
				t.Errorf("second: %+v, opened %q", second, opened)
			}
			if one, two := raw("1"), raw("2"); one != two {
				t.Errorf("the images differ:\n%s\n%s", one, two)
			}
			m.install(t, m.two, closure("app-6"))
			must(t, os.RemoveAll(m.at(m.two, "home")))
			third, opened := m.push(t, m.two, "3", from...)
			for _, line := range opened {
				if !strings.Contains(line, "-of-app-6") {
					t.Errorf("opened: %s", line)
				}
			}
			// The top layer has other links to the files, and is as small as that.
			if third.Compressed.Layers != 2 || third.Sent.Layers != 2 || third.Skipped.Layers != layers-2 || third.Hashed.Files != 2 || third.Reused.Files != second.Reused.Files-2 || len(opened) == 0 {
				t.Errorf("third: %+v, opened %q", third, opened)
			}
			m.install(t, m.one, closure("app-6"))
			m.push(t, m.one, "4", "--no-cache")
			if three, four := raw("3"), raw("4"); three != four {
				t.Errorf("the images differ:\n%s\n%s", three, four)
			}
		})
	}
	if programs == 0 {
		testtools.Need(t, "docker-registry")
	}
}
