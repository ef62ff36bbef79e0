//go:build amd64 || arm64

package limits

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/procfs"
)

// What the kernel keeps, in bytes; upper limits, or nearly so.
const (
	costSocket = 3 << 10
	costWait   = 512      // of an address of a past connection
	costByte   = 1 << 10  // of a byte that was sent alone
	costPage   = 4        // of a byte that was sent over TCP
	costOption = 8        // of a byte of filters and groups, with what belongs to them
	overSocket = 64 << 10 // how far a socket may exceed its limit
)

// network describes what holds for all sockets.
type network struct {
	// own says that the network is the step's alone.
	own bool
	// pipe, socket and sent limit what there may be in a pipe, in a socket, and in flight
	// from a socket of this machine, in bytes.
	pipe, socket, sent int64
	// datagrams is how many may wait.
	datagrams int64
	// was counts the sockets before the step.
	was sockets
	// since is when descriptors that nobody can look at were first in transit.
	since time.Duration
}

// begin notes what there is before the step.
func (n *network) begin() (err error) {
	if n.was, err = socketsUsed(); err != nil {
		return err
	}
	var read, written int64
	for name, to := range map[string]*int64{
		"fs/pipe-max-size": &n.pipe, "net/core/rmem_max": &read, "net/core/wmem_max": &written, "net/unix/max_dgram_qlen": &n.datagrams,
	} {
		if *to, err = readNumber("/proc/sys/" + name); procfs.Gone(err) { // older kernels have it in their first network only
			*to, err = 4<<20, nil
		}
		if err != nil {
			return err
		}
	}
	// The kernel doubles the requested size.
	n.sent = 2*written + overSocket
	n.socket = n.sent + 2*read + overSocket
	return nil
}

// sockets counts a network's sockets, and past connections whose addresses are kept for a
// while.
type sockets struct{ used, past int64 }

func socketsUsed() (s sockets, err error) {
	const name = "/proc/net/sockstat"
	text, err := os.ReadFile(name)
	if err != nil && !procfs.Gone(err) { // a kernel may lack networking
		return s, err
	}
	words := strings.Fields(string(text))
	for i, word := range words {
		to := map[string]*int64{"used": &s.used, "tw": &s.past}[word]
		if to == nil || i+1 == len(words) {
			continue
		}
		if *to, err = strconv.ParseInt(words[i+1], 10, 64); err != nil {
			return s, fmt.Errorf("%s: it has %q", name, text)
		}
	}
	return s, nil
}

// notAccepted counts the connections of the AF_UNIX family that wait at listeners, which
// are identified by their addresses.
func notAccepted(listeners map[string]bool) (number int64, err error) {
	if len(listeners) == 0 {
		return 0, nil
	}
	err = eachLine("/proc/net/unix", func(words []string) error {
		// An address may contain line feeds.
		if len(words) > 7 && words[6] == "0" && listeners[strings.Join(words[7:], " ")] { // no file refers to it
			number++
		}
		return nil
	})
	return number, err
}

// addressOf returns a socket's address of that family, in the form that notAccepted reads.
func addressOf(fd int) (string, error) {
	var at unix.RawSockaddrUnix
	size := uint32(unsafe.Sizeof(at))
	if _, _, e := unix.Syscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&at)), uintptr(unsafe.Pointer(&size))); e != 0 {
		return "", e
	}
	const before = uint32(unsafe.Offsetof(at.Path))
	var name []byte
	for _, c := range at.Path[:min(max(size, before)-before, uint32(len(at.Path)))] {
		name = append(name, byte(c))
	}
	if len(name) > 0 && name[0] != 0 { // a path, not an abstract name
		name, _, _ = bytes.Cut(name, []byte{0})
	}
	line, _, _ := strings.Cut(strings.ReplaceAll(string(name), "\x00", "@"), "\n")
	return strings.Join(strings.Fields(line), " "), nil
}

// socketCensus is what a census knows about sockets.
type socketCensus struct {
	number int64
	dev    uint64 // of all sockets
	// closed is how much there may be, in bytes, that was sent by sockets that are closed.
	closed int64
	// listeners are the addresses of the sockets that connections can wait at.
	listeners map[string]bool
	// unseen says that descriptors are in transit over a connection that has not been
	// accepted.
	unseen bool
}

// socket adds a socket with its content.
func (c *census) socket(fd int, f *openFile) error {
	memory, err := socketMemory(fd)
	if err != nil {
		return err
	}
	c.sockets.number++
	c.m.kernel += costSocket + memory
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || family != unix.AF_UNIX {
		return err
	}
	passed, err := passedOver(f)
	if err != nil {
		return err
	}
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return err
	}
	if listens != 0 {
		c.sockets.unseen = c.sockets.unseen || passed
		address, err := addressOf(fd)
		c.sockets.listeners[address] = true
		return err
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err == nil {
		err = c.received(fd, kind)
	}
	if err == nil && passed {
		err = c.peek(fd, kind, c.messages)
	}
	return err
}

// socketMemory returns what the kernel counts for a socket: what it has received, or sent
// and not yet got rid of. AF_UNIX counts it for the sender.
func socketMemory(fd int) (int64, error) {
	var m [9]uint32
	size := uint32(unsafe.Sizeof(m))
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&m)), uintptr(unsafe.Pointer(&size)), 0)
	if e != 0 {
		return 0, e
	}
	// In the order of linux/sock_diag.h.
	received, sent, queued, options, backlog := m[0], m[2], m[5], m[6], m[7]
	return int64(received) + int64(max(sent, queued)) + int64(options)*costOption + int64(backlog), nil
}

// received notes what a socket has received from sockets that may be closed.
func (c *census) received(fd, kind int) error {
	polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if _, err := unix.Poll(polled, 0); err != nil && err != unix.EINTR {
		return err
	}
	n := c.u.network
	switch events := polled[0].Revents; {
	case events&unix.POLLIN == 0:
	case kind == unix.SOCK_DGRAM:
		most := (n.datagrams + 1) * n.sent
		if c.m.total()+c.sockets.closed+most <= c.m.limit {
			c.sockets.closed += most
			return nil
		}
		return c.peek(fd, kind, func(text int, control []byte) error {
			c.sockets.closed += 2*int64(text) + costByte
			return c.messages(text, control)
		})
	case events&unix.POLLHUP != 0:
		waiting, err := unix.IoctlGetInt(fd, unix.SIOCINQ)
		if err != nil {
			return err
		}
		c.sockets.closed += min(int64(waiting)*costByte, n.sent)
	}
	return nil
}

// passedOver reports whether descriptors are in transit over a socket.
func passedOver(f *openFile) (bool, error) {
	text, err := os.ReadFile(f.info())
	if err != nil {
		return false, err
	}
	_, number, _ := bytes.Cut(text, []byte("scm_fds:"))
	number, _, _ = bytes.Cut(number, []byte("\n"))
	word := string(bytes.TrimSpace(number))
	return word != "" && word != "0", nil
}

// peek calls a function for the messages that wait in a socket, with the number of bytes of
// text and the control messages, whose descriptors the function has to close. Nothing is
// consumed; only the step's own peeks, if they happen at the same moment, may see less.
func (c *census) peek(fd, kind int, visit func(text int, control []byte) error) error {
	before, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 0); err != nil {
		return err
	}
	defer func() { _ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, before) }()
	data, control := make([]byte, 64<<10), make([]byte, 4<<10)
	for empty := 0; empty < mostEmpty; {
		n, controls, flags, _, err := unix.Recvmsg(fd, data, control, unix.MSG_PEEK|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		if err == unix.EAGAIN || err == nil && n == 0 && kind == unix.SOCK_STREAM {
			return nil
		}
		if err == nil {
			err = visit(n, control[:controls])
		}
		if err == nil && flags&unix.MSG_CTRUNC != 0 {
			err = errors.New("not all descriptors that were sent could be received")
		}
		if err != nil {
			return err
		}
		if empty++; n > 0 {
			empty = 0
		}
	}
	return nil
}

// mostEmpty is more than the possible number of messages without text in a row.
const mostEmpty = 100_000

// messages adds the descriptors in control messages, and closes them.
func (c *census) messages(_ int, control []byte) (err error) {
	all, err := unix.ParseSocketControlMessage(control)
	for _, m := range all {
		if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SCM_RIGHTS && m.Header.Type != scmPidfd {
			continue
		}
		m.Header.Type = unix.SCM_RIGHTS
		fds, parseErr := unix.ParseUnixRights(&m)
		err = errors.Join(err, parseErr)
		for _, fd := range fds {
			if err == nil {
				err = c.visit(&openFile{task: "/proc/self", number: fd})
			}
			unix.Close(fd)
		}
	}
	return err
}

// scmPidfd is SCM_PIDFD of linux/socket.h.
const scmPidfd = 4

// unseenFor is how long descriptors may be in transit where nobody can look at them.
const unseenFor = 5 * time.Second

// namelessSockets adds sockets that no process has; before was the count when counting the
// others began.
func (c *census) namelessSockets(before sockets) error {
	if err := c.u.network.unseen(c.sockets.unseen); err != nil {
		return err
	}
	n := &c.u.network
	now, err := socketsUsed()
	if err != nil {
		return err
	}
	c.m.kernel += max(now.past-n.was.past, 0) * costWait
	number := max(min(before.used, now.used)-n.was.used-c.sockets.number, 0)
	if n.own && number == 0 {
		return nil
	}
	waiting, err := notAccepted(c.sockets.listeners)
	if err != nil {
		return err
	}
	most := c.sockets.closed + waiting*n.sent
	if n.own {
		c.m.kernel += number * costSocket
		most = min(most, number*n.sent)
	}
	c.m.kernel += most
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		if err := c.namelessTCP(name); err != nil {
			return err
		}
	}
	return nil
}

// unseen returns an error if descriptors have been out of sight for too long.
func (n *network) unseen(now bool) error {
	switch {
	case !now:
		n.since = 0
	case n.since == 0:
		n.since = monotonic()
	case monotonic()-n.since > unseenFor:
		return fmt.Errorf("for %v open files are on their way over connections that are not accepted", unseenFor)
	}
	return nil
}

// namelessTCP adds the content of connections that are closed, not accepted, or only
// mapped.
func (c *census) namelessTCP(name string) error {
	return eachLine(name, func(words []string) error {
		if err := checkFields(name, words, 10); err != nil {
			return err
		}
		const nobody = "65534" // of another user, on the machine's network
		if words[7] == nobody || words[9] != "0" && !c.onlyMapped(words[9]) {
			return nil
		}
		sent, received, _ := strings.Cut(words[4], ":")
		for _, word := range []string{sent, received} {
			bytes, err := strconv.ParseUint(word, 16, 32)
			if err != nil {
				return fmt.Errorf("%s: it has %q", name, words)
			}
			c.m.kernel += int64(bytes) * costPage
		}
		return nil
	})
}

// onlyMapped reports whether a socket of the step's own network, by its number, was not
// found anywhere: it may be mapped then, and closed.
func (c *census) onlyMapped(number string) bool {
	ino, err := strconv.ParseUint(number, 10, 64)
	return c.u.network.own && (err != nil || !c.seen[object{c.sockets.dev, ino}])
}
