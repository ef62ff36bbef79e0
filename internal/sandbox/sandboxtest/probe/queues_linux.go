package main

import (
	"crypto/rand"
	"errors"

	"golang.org/x/sys/unix"
)

// queue is what is written at once.
var queue = make([]byte, 64<<10)

// pour writes to a socket or pipe until it is full or enough is written.
func pour(fd, left int) (written int, err error) {
	for written < left {
		n, err := unix.Write(fd, queue)
		if n > 0 {
			written += n
			continue
		}
		if err == unix.EAGAIN {
			return written, nil
		}
		return written, err
	}
	return written, nil
}

// pourInto fills what open opens, again and again.
func pourInto(mib int, open func() (fd int, err error), done func(fd int)) error {
	for left := mib << 20; left > 0; {
		fd, err := open()
		if err != nil {
			return err
		}
		n, err := pour(fd, left)
		if err != nil {
			return err
		}
		if n == 0 {
			return errors.New("nothing could be written")
		}
		left -= n
		if done != nil {
			done(fd)
		}
	}
	return nil
}

func pipes(mib int) error {
	return pourInto(mib, func() (int, error) {
		var p [2]int
		err := unix.Pipe2(p[:], unix.O_NONBLOCK)
		return p[1], err
	}, nil)
}

// pair makes two sockets with the largest possible buffer.
func pair(kind int) (ours, theirs int, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_NONBLOCK, 0)
	if err == nil {
		err = unix.SetsockoptInt(p[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<26)
	}
	return p[0], p[1], err
}

func pairs(mib int) error {
	return pourInto(mib, func() (int, error) { ours, _, err := pair(unix.SOCK_STREAM); return ours, err }, nil)
}

// hungUp closes sockets after writing to them.
func hungUp(mib int) error {
	return pourInto(mib, func() (int, error) { ours, _, err := pair(unix.SOCK_STREAM); return ours, err }, closed)
}

func closed(fd int) { unix.Close(fd) }

func datagrams(mib int) error {
	return pourInto(mib, func() (int, error) { ours, _, err := pair(unix.SOCK_DGRAM); return ours, err }, closed)
}

// loopback fills connections to itself.
func loopback(mib int) error {
	listener, at, err := bound(unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	if err := unix.Listen(listener, 100); err != nil {
		return err
	}
	return pourInto(mib, func() (int, error) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<26)
		}
		if err == nil {
			err = unix.Connect(fd, at)
		}
		if err == nil {
			err = unix.SetNonblock(fd, true)
		}
		if err == nil {
			_, _, err = unix.Accept(listener)
		}
		return fd, err
	}, nil)
}

// bound makes a socket with an address of its own.
func bound(kind int) (int, unix.Sockaddr, error) {
	fd, err := unix.Socket(unix.AF_INET, kind, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err != nil {
		return -1, nil, err
	}
	at, err := unix.Getsockname(fd)
	return fd, at, err
}

// udp fills sockets with datagrams from itself.
func udp(mib int) error {
	from, _, err := bound(unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	for left := mib << 20; left > 0; {
		fd, at, err := bound(unix.SOCK_DGRAM)
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<26)
		}
		if err != nil {
			return err
		}
		size, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
		if err != nil {
			return err
		}
		for filled := 0; filled < size/2; filled += 32 << 10 {
			if err := unix.Sendto(from, queue[:32<<10], 0, at); err != nil {
				return err
			}
		}
		left -= size / 2
	}
	return nil
}

// netlink has sockets send messages to themselves.
func netlink(mib int) error {
	return pourInto(mib, func() (int, error) {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_NONBLOCK, unix.NETLINK_USERSOCK)
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<26)
		}
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<26)
		}
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		}
		var at unix.Sockaddr
		if err == nil {
			at, err = unix.Getsockname(fd)
		}
		if err == nil {
			err = unix.Connect(fd, at)
		}
		return fd, err
	}, nil)
}

// memfd makes a file in memory of the given size in MiB.
func memfd(mib int) (int, error) {
	fd, err := unix.MemfdCreate("", 0)
	for range mib {
		if err == nil {
			_, err = unix.Write(fd, make([]byte, 1<<20))
		}
	}
	return fd, err
}

// pass sends descriptors over a socket and closes them.
func pass(over int, fds ...int) error {
	err := unix.Sendmsg(over, []byte("x"), unix.UnixRights(fds...), nil, 0)
	for _, fd := range fds {
		unix.Close(fd)
	}
	return err
}

// passed sends files in memory that are never received.
func passed(mib int) error {
	ours, _, err := pair(unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	for left := mib; left > 0; left -= 10 {
		fd, err := memfd(10)
		if err == nil {
			err = pass(ours, fd)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// passedTwice sends sockets over which such files were sent.
func passedTwice(mib int) error {
	ours, _, err := pair(unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	for left := mib; left > 0; left -= 10 {
		a, b, err := pair(unix.SOCK_STREAM)
		if err != nil {
			return err
		}
		fd, err := memfd(10)
		if err == nil {
			err = pass(a, fd)
		}
		if err == nil {
			err = pass(ours, a, b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// notAccepted fills connections that are never accepted, and closes them.
func notAccepted(mib int) error {
	return unaccepted(mib, func(fd int) error { _, err := pour(fd, mib<<20); return err })
}

// passedOn sends files over such connections.
func passedOn(mib int) error {
	left := mib
	return unaccepted(mib, func(over int) error {
		if left <= 0 {
			return nil
		}
		fd, err := memfd(10)
		left -= 10
		if err == nil {
			err = pass(over, fd)
		}
		return err
	})
}

func unaccepted(mib int, use func(fd int) error) error {
	at := &unix.SockaddrUnix{Name: "@" + rand.Text()} // the network may be shared with others
	listener, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		err = unix.Bind(listener, at)
	}
	if err == nil {
		err = unix.Listen(listener, 1000)
	}
	if err != nil {
		return err
	}
	var size int
	for left := mib << 20; left > 0; left -= size {
		fd, _, err := pair(unix.SOCK_STREAM)
		if err != nil {
			return err
		}
		if size, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF); err != nil {
			return err
		}
		if fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<26); err != nil {
			return err
		}
		if err := unix.Connect(fd, at); err != nil {
			return err
		}
		if err := unix.SetNonblock(fd, true); err != nil {
			return err
		}
		if err := use(fd); err != nil {
			return err
		}
		unix.Close(fd)
	}
	return nil
}
