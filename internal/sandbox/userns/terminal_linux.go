//go:build amd64 || arm64

package userns

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox"
)

// stdio makes the step's standard input, output and error, and keeps our ends of them.
func (c *conversation) stdio(p *pipes) stdio {
	if c.step.Terminal != nil {
		return c.terminal(p)
	}
	var io stdio
	if io[0], c.stdin = p.make(); c.step.Stdin == nil && c.stdin != nil {
		c.stdin.Close() // marks the end of the step's input
		c.stdin = nil
	}
	c.stdout, io[1] = p.make()
	io[2] = io[1]
	if c.step.Stdout != c.step.Stderr {
		c.stderr, io[2] = p.make()
	}
	return io
}

// terminal makes a terminal for the step alone (ptmx(4)). We write to it and read from it
// through files of our own, of which either may be closed.
func (c *conversation) terminal(p *pipes) stdio {
	master, slave, err := openTerminal(c.step.Terminal.Size)
	if err != nil {
		p.err = errors.Join(p.err, fmt.Errorf("make a terminal: %w", err))
		return stdio{}
	}
	p.all = append(p.all, master, slave)
	fd, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		p.err = errors.Join(p.err, err)
		return stdio{}
	}
	c.stdout = master
	if c.step.Stdin != nil {
		c.stdin = os.NewFile(uintptr(fd), "terminal")
		p.all = append(p.all, c.stdin)
	} else {
		unix.Close(fd)
	}
	return stdio{slave, slave, slave}
}

func openTerminal(size sandbox.TerminalSize) (master, slave *os.File, err error) {
	m, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, errors.Join(err, unix.Close(m))
	}
	// Its path would work only where /dev/pts belongs to /dev/ptmx.
	s, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(m), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if e != 0 {
		return nil, nil, errors.Join(e, unix.Close(m))
	}
	master, slave = os.NewFile(uintptr(m), "terminal"), os.NewFile(s, "terminal")
	if err := resize(master, size); err != nil {
		return nil, nil, errors.Join(err, master.Close(), slave.Close())
	}
	return master, slave, nil
}

// resize sets the size of a terminal, and the step is notified.
func resize(terminal *os.File, size sandbox.TerminalSize) error {
	return unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Columns})
}

// followSizes passes on new sizes of the caller's terminal, until the step has ended.
func (c *conversation) followSizes() {
	for {
		select {
		case <-c.process.done:
			return
		case size, open := <-c.step.Terminal.Resize:
			if !open || resize(c.stdout, size) != nil {
				return
			}
		}
	}
}
