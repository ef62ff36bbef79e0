package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/varve-image/varve/internal/goldenstore"
	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/nixstore/nixdb"
	"github.com/varve-image/varve/internal/nixstore/nixstate"
)

// TestScripts runs testdata/script: a file for each behaviour that a user can
// type. UPDATE=1 writes what came out into the files that cmp compares with.
//
// Besides the usual commands, the scripts have those of scriptCommands. They
// start in a directory with their files, umask 022, and an empty TMPDIR, which
// has to be empty at the end as well. $arch is this machine's architecture, and
// the cache is in .cache/varve.
//
// They run varve as users get it, which starts much sooner than with the race
// detector; those of racedScripts run it with that, where the tests have it.
func TestScripts(t *testing.T) {
	old := syscall.Umask(0o022)
	t.Cleanup(func() { syscall.Umask(old) })
	golden, err := filepath.Abs("../../internal/place/dockerarchive/testdata/golden")
	if err != nil {
		t.Fatal(err)
	}
	tarsums, err := filepath.Abs("../../layer/testdata/tarsum.sums")
	if err != nil {
		t.Fatal(err)
	}
	program := shipped.get(t)
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		Cmds:               scriptCommands,
		UpdateScripts:      os.Getenv("UPDATE") != "",
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			if name := strings.TrimPrefix(filepath.Base(env.WorkDir), "script-"); !raceDetector || !slices.Contains(racedScripts, name) {
				env.Setenv("PATH", filepath.Dir(program)+string(filepath.ListSeparator)+env.Getenv("PATH"))
			}
			env.Setenv("golden", golden)
			env.Setenv("tarsums", tarsums)
			env.Setenv("arch", runtime.GOARCH)
			env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, ".cache"))
			temp := env.Getenv("TMPDIR")
			env.Defer(func() {
				if left := names(temp); len(left) > 0 {
					env.T().Fatal(fmt.Sprintf("left in TMPDIR: %q", left))
				}
			})
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
	})
}

// racedScripts exercise everything that varve does concurrently.
var racedScripts = []string{
	"base", "build-file", "cache", "copy-image", "dest-docker-archive", "dest-oci-dir", "export", "index", "inspect",
	"layer-built", "locked", "max-layers", "merge", "nix-database", "platforms", "prefetch", "rebase", "run-step", "stdin",
	"steps-run-as-root", "store-closure", "stream-program", "tree-merge",
}

type script = testscript.TestScript

// scriptCommands are the commands that only these scripts have.
var scriptCommands = map[string]func(ts *script, neg bool, args []string){
	"config":      onArgs(1, 2, "config IMAGE [NAME]: print the image's config", printConfig),
	"entries":     onArgs(1, 2, "entries IMAGE [LAYER]: list a layer, the top one or that of the number", printEntries),
	"extract":     onArgs(3, 4, "extract VARIABLE FILE BEFORE [AFTER]: set a variable to what stands between two texts", setVariable),
	"flipbit":     onArgs(1, 1, "flipbit FILE: change a bit in the middle of a file", flipBit),
	"fails":       onArgs(2, 99, "fails CODE VARVE-ARGS…: run varve, which ends with the code and an error", fails),
	"goldenstore": onArgs(1, 1, "goldenstore DIR: make the golden store", makeGoldenStore),
	"list":        onArgs(1, 1, "list TAR: list a tar, compressed or not", listTar),
	"manifest":    onArgs(1, 1, "manifest IMAGE: print manifest.json, or the layout's manifests", printManifest),
	"mkfifo":      onArgs(1, 1, "mkfifo FILE", func(ts *script, args []string) error { return syscall.Mkfifo(ts.MkAbs(args[0]), 0o644) }),
	"mksocket":    onArgs(1, 1, "mksocket FILE", makeSocket),
	"mktar":       onArgs(2, 2, "mktar TAR LIST: make a tar; see makeTar", makeTar),
	"nixdb":       onArgs(1, 1, "nixdb IMAGE: print what Nix's database in the image says", printNixDB),
	"plain":       onArgs(2, 2, "plain FILE OUT: decompress", decompress),
	"registry":    onArgs(1, 2, "registry start | stop | requests TEXT", registry),
	"replace":     onArgs(3, 3, "replace FILE OLD NEW: replace a text, once", replaceText),
	"register":    onArgs(2, 2, "register ROOT FILE: make the Nix database of the store in ROOT of a registration", registerPaths),
	"sha256":      onArgs(1, 99, "sha256 FILE…: print a line for each", printSums),
	"stat":        onArgs(1, 1, "stat FILE: print type, mode and size", printStat),
}

// onArgs turns a command that may fail into a script command that cannot be negated.
func onArgs(least, most int, usage string, run func(*script, []string) error) func(*script, bool, []string) {
	return func(ts *script, neg bool, args []string) {
		if neg || len(args) < least || len(args) > most {
			ts.Fatalf("usage: %s", usage)
		}
		ts.Check(run(ts, args))
	}
}

// fails runs varve. It has to end with the exit code, an error, and nothing on
// standard output.
func fails(ts *script, args []string) error {
	want, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	err = ts.Exec("varve", args[1:]...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("varve did not fail: %v", err)
	}
	if got := exit.ExitCode(); got != want {
		return fmt.Errorf("exit code %d, want %d", got, want)
	}
	if out := ts.ReadFile("stdout"); out != "" {
		return fmt.Errorf("it wrote %d bytes to standard output", len(out))
	}
	errors := 0
	for line := range strings.Lines(ts.ReadFile("stderr")) {
		if strings.HasPrefix(line, "varve: ") || strings.Contains(line, `"level":"ERROR"`) {
			errors++
		}
	}
	if errors != 1 {
		return fmt.Errorf("it wrote %d error messages, want one", errors)
	}
	return nil
}

func makeGoldenStore(ts *script, args []string) error {
	_, err := goldenstore.Make(ts.MkAbs(args[0]))
	return err
}

func registerPaths(ts *script, args []string) error {
	infos, err := nixstore.ReadRegistration("", strings.NewReader(ts.ReadFile(args[1])))
	if err != nil {
		return err
	}
	paths := make([]nixstate.Path, len(infos))
	for i, info := range infos {
		paths[i].PathInfo = info
	}
	name := ts.MkAbs(args[0]) + "/" + nixstate.Place(nixstore.DefaultStoreDir)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(nixdb.Write(context.Background(), f, paths), f.Close())
}

func makeSocket(ts *script, args []string) error {
	// The name of a socket may have only some 100 bytes.
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", dir+"/s")
	if err != nil {
		return err
	}
	ts.Defer(func() { l.Close() })
	return os.Rename(dir+"/s", ts.MkAbs(args[0]))
}

// makeTar makes a tar of a list with an entry on each line: TYPE MODE NAME
// [TARGET or CONTENT], where the type is one of d - l h p c, and NAME and what
// follows may be Go string literals. The ending of the tar's name decides its
// compression.
func makeTar(ts *script, args []string) error {
	return writeTar(ts.MkAbs(args[0]), func(w *tar.Writer) error {
		for line := range strings.Lines(ts.ReadFile(args[1])) {
			if err := tarLine(w, strings.TrimSpace(line)); err != nil {
				return fmt.Errorf("%s: %q: %w", args[1], line, err)
			}
		}
		return nil
	})
}

func tarLine(w *tar.Writer, line string) error {
	fields := make([]string, 4)
	for i := range fields {
		if prefix, err := strconv.QuotedPrefix(line); err == nil {
			fields[i], _ = strconv.Unquote(prefix)
			line = line[len(prefix):]
		} else if i < 3 {
			fields[i], line, _ = strings.Cut(line, " ")
		} else {
			fields[i] = line
		}
		line = strings.TrimPrefix(line, " ")
	}
	mode, err := strconv.ParseInt(fields[1], 8, 64)
	if err != nil {
		return err
	}
	h := &tar.Header{Name: fields[2], Mode: mode, Uid: 1000, Gid: 1000, Uname: "builder"}
	content := ""
	switch fields[0] {
	case "d":
		h.Typeflag = tar.TypeDir
	case "-":
		h.Typeflag, h.Size, content = tar.TypeReg, int64(len(fields[3])), fields[3]
	case "l":
		h.Typeflag, h.Linkname = tar.TypeSymlink, fields[3]
	case "h":
		h.Typeflag, h.Linkname = tar.TypeLink, fields[3]
	case "p":
		h.Typeflag = tar.TypeFifo
	case "c":
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, 1, 3
	default:
		return fmt.Errorf("unknown type %q", fields[0])
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.WriteString(w, content)
	return err
}

func printStat(ts *script, args []string) error {
	st, err := os.Lstat(ts.MkAbs(args[0]))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(ts.Stdout(), "%s %d\n", st.Mode(), st.Size())
	return err
}

// names lists a directory; nil if there is none.
func names(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}
