package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"
	"sync"
	"time"
)

// sshTarget is an engine on another machine, where its own client connects it to standard input
// and output.
type sshTarget struct {
	user, host, port string
	// socket is the engine's socket on that machine; empty means where its client looks.
	socket string
	// client is docker or podman, and identity a key file; empty means ssh's own.
	client, identity string
}

// What may become an argument of ssh, and by its configuration perhaps of a shell. None of it
// begins with "-".
var (
	sshUsers = regexp.MustCompile(`^[A-Za-z0-9_.][A-Za-z0-9_.@+-]*$`)
	sshHosts = regexp.MustCompile(`^[A-Za-z0-9_.:][A-Za-z0-9_.:%-]*$`)
)

// parseSSH reads ssh://[USER@]HOST[:PORT][/SOCKET].
func parseSSH(text string, u *url.URL) (*sshTarget, error) {
	t := &sshTarget{user: u.User.Username(), host: u.Hostname(), port: u.Port(), client: "docker"}
	_, hasPassword := u.User.Password()
	switch {
	case hasPassword:
		return nil, errors.New("engine at an ssh:// address with a password: ssh takes none from there: use a key or ssh's agent")
	case u.User != nil && !sshUsers.MatchString(t.user), !sshHosts.MatchString(t.host), u.RawQuery != "", u.Fragment != "":
		return nil, fmt.Errorf("engine at %q: expected ssh://USER@HOST:PORT, of letters, digits and . _ - between them", text)
	}
	if strings.Trim(u.Path, "/") != "" {
		t.socket = path.Clean(u.Path)
	}
	if strings.ContainsFunc(t.socket, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, fmt.Errorf("engine at %q: the path of its socket has control characters", text)
	}
	return t, nil
}

// args returns ssh's arguments. What follows the host is for a shell there.
func (t *sshTarget) args() []string {
	args := []string{"-T", "-o", "ConnectTimeout=30"}
	if t.identity != "" {
		args = append(args, "-i", t.identity)
	}
	if t.user != "" {
		args = append(args, "-l", t.user)
	}
	if t.port != "" {
		args = append(args, "-p", t.port)
	}
	args = append(args, "--", t.host, t.client)
	if t.socket != "" {
		flag := map[string]string{"docker": "--host=", "podman": "--url="}[t.client]
		args = append(args, flag+quoteShell("unix://"+t.socket))
	}
	return append(args, "system", "dial-stdio")
}

// plain matches text that no shell interprets.
var plain = regexp.MustCompile(`^[A-Za-z0-9_./:@%+=,-]+$`)

func quoteShell(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// dial starts ssh, which lives as long as the connection, even after ctx is done.
func (t *sshTarget) dial(ctx context.Context) (net.Conn, error) {
	if err := look("ssh", "install OpenSSH's client"); err != nil {
		return nil, err
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := newProcess(life, "ssh", t.args()...)
	c := &sshConn{cancel: cancel}
	theirIn, in, err := os.Pipe()
	if err != nil {
		cancel()
		return nil, err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		cancel()
		return nil, errors.Join(err, theirIn.Close(), in.Close())
	}
	c.in, c.out, p.Stdin, p.Stdout = in, out, theirIn, theirOut
	err = p.Start()
	theirIn.Close() // ssh has them
	theirOut.Close()
	c.wait = sync.OnceValue(func() error { return p.failed(p.Wait()) })
	if err != nil {
		c.wait = func() error { return err }
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// sshConn is a connection over ssh's standard input and output.
type sshConn struct {
	in, out *os.File
	cancel  context.CancelFunc
	wait    func() error
}

func (c *sshConn) Read(b []byte) (int, error) {
	n, err := c.out.Read(b)
	if errors.Is(err, io.EOF) {
		err = c.why(err)
	}
	return n, err
}

func (c *sshConn) Write(b []byte) (int, error) {
	n, err := c.in.Write(b)
	// Whoever reads its end closes the connection.
	if err != nil && (abandoned(err) || errors.Is(err, os.ErrClosed)) {
		err = c.why(err)
	}
	return n, err
}

// why returns ssh's own error, if it has ended with one.
func (c *sshConn) why(err error) error {
	ended := make(chan error, 1)
	go func() { ended <- c.wait() }()
	select {
	case failed := <-ended:
		var exit *exitError
		if errors.As(failed, &exit) {
			return failed
		}
	case <-time.After(grace):
	}
	return err
}

// Close ends ssh.
func (c *sshConn) Close() error {
	err := errors.Join(c.in.Close(), c.out.Close())
	c.cancel()
	_ = c.wait() // it was asked to end
	return err
}

func (c *sshConn) LocalAddr() net.Addr  { return sshAddr{} }
func (c *sshConn) RemoteAddr() net.Addr { return sshAddr{} }

func (c *sshConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}
func (c *sshConn) SetReadDeadline(t time.Time) error  { return c.out.SetReadDeadline(t) }
func (c *sshConn) SetWriteDeadline(t time.Time) error { return c.in.SetWriteDeadline(t) }

type sshAddr struct{}

func (sshAddr) Network() string { return "ssh" }
func (sshAddr) String() string  { return "ssh" }

// sshFailed returns the error of an ssh, or of the client there, that could not connect.
func sshFailed(err error) (*exitError, bool) {
	var exit *exitError
	return exit, errors.As(err, &exit) && exit.program == "ssh"
}
