package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mallory is a malicious user.
const mallory = 60001

// as makes a command run as a user.
func as(cmd *exec.Cmd, uid uint32) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return cmd
}

// malloryRuns runs a line of shell as mallory. $1, $2, … are the arguments.
func malloryRuns(t *testing.T, line string, args ...string) {
	t.Helper()
	cmd := exec.Command("/bin/sh", append([]string{"-ec", "umask 0; " + line, "sh"}, args...)...)
	cmd.Dir = "/"
	if out, err := as(cmd, mallory).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
}

// own gives files to a user.
func own(t *testing.T, uid int, names ...string) {
	t.Helper()
	for _, name := range names {
		must(t, os.Lchown(name, uid, uid))
	}
}

// sharedDir returns a directory that everybody can write to.
func sharedDir(t *testing.T, sticky bool) string {
	t.Helper()
	dir := openDir(t, "")
	mode := fs.FileMode(0o777)
	if sticky {
		mode |= fs.ModeSticky
	}
	must(t, os.Chmod(dir, mode))
	return dir
}

// plantNumbers lets mallory make the temporary names of out that end in the numbers
// of the next 600 processes.
func plantNumbers(t *testing.T, dir, out string) {
	t.Helper()
	cmd := exec.Command("/bin/true")
	must(t, cmd.Run())
	malloryRuns(t, `i=$2; while [ $i -lt $(($2 + 600)) ]; do : >"$1$i"; i=$(($i + 1)); done`,
		filepath.Join(dir, "."+out+".varve-"), fmt.Sprint(cmd.Process.Pid))
}

// sharedOutputs maps outputs to the value of -o.
var sharedOutputs = map[string]string{"out.tar": "%s", "out.tar.zst": "%s", "layout": "oci:%s", "archive": "oci-archive:%s", "tree": "%s/"}

// writeShared writes an output into a directory as a user.
func writeShared(t *testing.T, dir, out string, uid uint32) outcome {
	t.Helper()
	args := []string{"build", "--name", "x", "--tag", "1", "--copy", "motd"}
	if out == "tree" {
		args = []string{"tree", "merge", "motd/"}
	}
	source := openDir(t, "")
	put(t, filepath.Join(source, "motd/motd"), "hello\n", 0o644)
	if out != "tree" {
		must(t, os.Rename(filepath.Join(source, "motd"), filepath.Join(source, "d")), os.Rename(filepath.Join(source, "d/motd"), filepath.Join(source, "motd")))
	}
	cmd := varve(t, source, append(args, "-q", "-o", fmt.Sprintf(sharedOutputs[out], filepath.Join(dir, out)))...)
	cmd.Env = append(cmd.Env, "XDG_CACHE_HOME=")
	return run(t, as(cmd, uid))
}

// TestOutputsBesideOthers: in a directory that others can write to, what they have put under
// the names that varve uses neither keeps it from writing nor is changed by it, nor is
// anything that it leads to. That holds for root, too.
func TestOutputsBesideOthers(t *testing.T) {
	needRoot(t)
	for _, uid := range []uint32{0, nobody} {
		for _, sticky := range []bool{true, false} {
			for out := range sharedOutputs {
				t.Run(fmt.Sprintf("user %d, sticky %v, %s", uid, sticky, out), func(t *testing.T) {
					home, dir := openDir(t, ""), sharedDir(t, sticky)
					put(t, filepath.Join(home, "secret"), "secret\n", 0o640)
					put(t, filepath.Join(home, "dir/file"), "mine\n", 0o644)
					own(t, int(uid), home, filepath.Join(home, "secret"), filepath.Join(home, "dir"), filepath.Join(home, "dir/file"))
					prefix := filepath.Join(dir, "."+out+".varve-")
					malloryRuns(t, `ln -s "$2/secret" "$1link"; ln -s "$2/dir" "$1dirlink"; : >"$1file"; mkfifo "$1fifo"
						mkdir -p "$1full/a/b"; : >"$1full/a/file"; mkdir "$1closed"; chmod 0 "$1closed"`, prefix, home)
					plantNumbers(t, dir, out)
					if !sticky { // mallory can rename other users' files
						put(t, filepath.Join(dir, "work/precious"), "precious\n", 0o644)
						own(t, int(uid), filepath.Join(dir, "work"), filepath.Join(dir, "work/precious"))
						malloryRuns(t, `mv "$2/work" "$1work"`, prefix, dir)
					}
					planted, mine := fingerprint(t, dir, true), fingerprint(t, home, true)
					if o := writeShared(t, dir, out, uid); o.code != 0 {
						t.Fatalf("exit code %d: %s", o.code, o.stderr)
					}
					path := filepath.Join(dir, out)
					if out == "tree" {
						path = filepath.Join(path, "motd")
					}
					_, err := os.Stat(path)
					must(t, err, os.Rename(filepath.Join(dir, out), filepath.Join(openDir(t, ""), out)))
					if got := fingerprint(t, dir, true); unplanted(got) != unplanted(planted) {
						t.Errorf("what others have there:\n%s\nit was:\n%s", got, planted)
					}
					if got := fingerprint(t, home, true); got != mine {
						t.Errorf("what their links lead to:\n%s\nit was:\n%s", got, mine)
					}
				})
			}
		}
	}
}

// unplanted returns a fingerprint without the line of the directory itself, whose time changes.
func unplanted(text string) string {
	_, rest, _ := strings.Cut(text, "\n")
	return rest
}

// TestOutputIsOthers: if another user has put something at the output's name, it is replaced or
// refused, and what it leads to stays as it is.
func TestOutputIsOthers(t *testing.T) {
	needRoot(t)
	for name, c := range map[string]struct {
		out, plant string
		refused    bool
	}{
		"link to a file":      {"out.tar", `ln -s "$2/secret" "$1"`, false},
		"link to a device":    {"out.tar", `ln -s /dev/full "$1"`, true},
		"link to a FIFO":      {"out.tar", `mkfifo "$1.fifo"; ln -s "$1.fifo" "$1"`, true},
		"FIFO":                {"out.tar", `mkfifo "$1"; cat "$1" &`, true},
		"link to a layout":    {"layout", `ln -s "$2/layout" "$1"`, true},
		"link to a directory": {"tree", `ln -s "$2/empty" "$1"`, true},
		"link for a layout":   {"layout", `ln -s "$2/none" "$1"`, true},
	} {
		t.Run(name, func(t *testing.T) {
			home, dir := openDir(t, ""), sharedDir(t, false)
			put(t, filepath.Join(home, "secret"), "secret\n", 0o640)
			makeDirs(t, filepath.Join(home, "empty"))
			mustRun(t, openDir(t, ""), "build", "--name", "mine", "--tag", "1", "-q", "-o", "oci:"+filepath.Join(home, "layout"))
			mine := fingerprint(t, home, true)
			malloryRuns(t, "exec >/dev/null 2>&1; "+c.plant, filepath.Join(dir, c.out), home)
			done := make(chan outcome, 1)
			go func() { done <- writeShared(t, dir, c.out, 0) }()
			select {
			case o := <-done:
				if refused := o.code != 0; refused != c.refused {
					t.Errorf("exit code %d: %s", o.code, o.stderr)
				}
				if c.refused {
					mustFind(t, o.stderr, fmt.Sprintf("%q", filepath.Join(dir, c.out)))
				}
			case <-time.After(deadline):
				t.Fatal("it waits")
			}
			if got := fingerprint(t, home, true); got != mine {
				t.Errorf("what it leads to:\n%s\nit was:\n%s", got, mine)
			}
		})
	}
}

// TestLayoutLock: a user who may only read a layout cannot keep others from writing
// to it.
func TestLayoutLock(t *testing.T) {
	needRoot(t)
	dir := openDir(t, "")
	layout := "oci:" + filepath.Join(dir, "layout")
	mustRun(t, dir, "build", "--name", "first", "--tag", "1", "-q", "-o", layout)
	lockAll(t, filepath.Join(dir, "layout"))
	began := time.Now()
	mustRun(t, dir, "build", "--name", "second", "--tag", "2", "-q", "-o", layout)
	if took := time.Since(began); took > deadline {
		t.Errorf("it took %v", took)
	}
	// A user who may write can; the wait is reported.
	lock := filepath.Join(dir, "layout/.varve.lock")
	put(t, lock, "", 0o600)
	f := lockFile(t, lock)
	time.AfterFunc(1500*time.Millisecond, func() { f.Close() })
	o := mustRun(t, dir, "build", "--name", "third", "--tag", "3", "-q", "-o", layout)
	mustFind(t, o.stderr, fmt.Sprintf("varve: warning: waiting: another process writes to the OCI layout %q", filepath.Join(dir, "layout")))
}

// lockAll locks all files and directories below dir that mallory can open.
func lockAll(t *testing.T, dir string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if as(exec.Command("/bin/sh", "-c", `exec <"$0"`, path), mallory).Run() == nil {
			lockFile(t, path)
		}
		return nil
	}))
}

func lockFile(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	must(t, unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	return f
}

// TestStepsBesideOthers: of the working directories that killed steps have left, only this
// user's are removed, and of those that others can have given that name, only empty ones.
func TestStepsBesideOthers(t *testing.T) {
	needRoot(t)
	for _, sticky := range []bool{true, false} {
		temp := sharedDir(t, sticky)
		makeDirs(t, filepath.Join(temp, ".varve-step-own"))
		if !sticky {
			makeDirs(t, filepath.Join(temp, ".varve-step-own-full", "full"))
		}
		malloryRuns(t, `mkdir -p "$1/.varve-step-1/full"; ln -s /etc "$1/.varve-step-2"`, temp)
		cmd := varve(t, openDir(t, ""), "build", "--name", "x", "--tag", "1", "--extra-commands", "true", "--no-cache", "-q", "-o", filepath.Join(temp, "out.tar"))
		cmd.Env = append(cmd.Env, "TMPDIR="+temp)
		if o := run(t, cmd); o.code != 0 {
			t.Fatalf("exit code %d: %s", o.code, o.stderr)
		}
		want := []string{".varve-step-1", ".varve-step-2", "out.tar"}
		if !sticky {
			want = append([]string{".varve-step-1", ".varve-step-2", ".varve-step-own-full"}, "out.tar")
		}
		if got := names(temp); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("sticky %v: left are %q, want %q", sticky, got, want)
		}
		if _, err := os.Stat(filepath.Join(temp, ".varve-step-1/full")); err != nil {
			t.Error(err)
		}
	}
}
