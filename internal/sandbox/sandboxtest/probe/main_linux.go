// Command probe is a static program that tests run inside sandboxes: it does what ordinary
// tools cannot do.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: probe COMMAND ARGS…")
		os.Exit(2)
	}
	command, args := os.Args[1], os.Args[2:]
	run, ok := commands[command]
	if !ok {
		fmt.Fprintf(os.Stderr, "probe: no command %q\n", command)
		os.Exit(2)
	}
	if err := run(args); err != nil {
		fmt.Fprintf(os.Stderr, "probe %s: %v\n", command, err)
		os.Exit(1)
	}
}

var commands = map[string]func(args []string) error{
	"chroot":    chroot,
	"contain":   contain,
	"deep":      deep,
	"dropxattr": func(args []string) error { return unix.Removexattr(args[0], args[1]) },
	"escape":    escape,
	"groups":    manyGroups,
	"files":     files,
	"scribble":  scribble,
	"ok":        func([]string) error { return nil },
	"ops":       ops,
	"ops-block": opsBlock,
	"setxattr":  setxattr,
	"socket":    socket,

	"idle":     idle,
	"memory":   memory,
	"setcap":   setcap,
	"getcap":   getcap,
	"statloop": statLoop,
	"threads":  threads,
}

const capability = "security.capability"

// manyGroups sets the given number of lists of groups, one after the other.
func manyGroups(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	groups := make([]int, 65536)
	for i := range n {
		groups[0] = i
		if err := unix.Setgroups(groups); err != nil {
			return err
		}
	}
	return nil
}

// chroot runs a program in another root directory.
func chroot(args []string) error {
	if err := unix.Chroot(args[0]); err != nil {
		return err
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	return unix.Exec(args[1], args[1:], []string{})
}

// deep makes the given number of directories, one in the other.
func deep(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	for range n {
		if err := unix.Mkdir("d", 0o755); err != nil {
			return err
		}
		if err := unix.Chdir("d"); err != nil {
			return err
		}
	}
	return nil
}

// scribble writes to files, some of which it may not be able to open.
func scribble(args []string) error {
	for _, name := range args {
		fd, err := unix.Open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_NONBLOCK, 0o644)
		if err == nil {
			_, err = unix.Write(fd, []byte("scribbled\n"))
		}
		fmt.Println(name, err)
	}
	return nil
}

func setxattr(args []string) error { return unix.Setxattr(args[0], args[1], []byte(args[2]), 0) }

// socket makes a socket with a name.
func socket(args []string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	return unix.Bind(fd, &unix.SockaddrUnix{Name: args[0]})
}

// setcap gives a file cap_net_bind_service=ep.
func setcap(args []string) error {
	value := "\x01\x00\x00\x02\x00\x04\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	return unix.Setxattr(args[0], capability, []byte(value), 0)
}

// getcap prints a file's capabilities unchanged, and its attributes' names.
func getcap(args []string) error {
	buf := make([]byte, 100)
	n, err := unix.Getxattr(args[0], capability, buf)
	if err == nil {
		fmt.Printf("%x", buf[:n])
	} else {
		fmt.Print(err)
	}
	if n, err = unix.Listxattr(args[0], buf); err != nil {
		return err
	}
	fmt.Printf(" %q\n", buf[:n])
	return nil
}

// threads has the given number of threads change the files named by the first argument and
// a number, all at once. One of the threads other than the first then runs a program.
func threads(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	errs := make(chan error)
	for i := range n {
		go func() {
			runtime.LockOSThread()
			name := fmt.Sprintf("%s%d", args[0], i)
			err := unix.Chmod(name, 0o4700+uint32(i))
			errs <- errors.Join(err, unix.Setxattr(name, "user.a", []byte("x"), 0))
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			return err
		}
	}
	go func() {
		runtime.LockOSThread()
		errs <- unix.Exec(args[2], args[2:], []string{})
	}()
	return <-errs
}

// statLoop looks at a file many times, and prints how long one look takes.
func statLoop(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	start := time.Now()
	for range n {
		var st unix.Stat_t
		if err := unix.Lstat(args[0], &st); err != nil {
			return err
		}
	}
	fmt.Println(time.Since(start) / time.Duration(n))
	return nil
}
