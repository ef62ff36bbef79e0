package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/distribution/reference"

	"github.com/varve-image/varve/internal/cmdline"
)

// login is how a command logs in: with one password, to one registry.
type login struct{ password, domain string }

// readPassword reads the line with the password, unless it was read already.
func (l *login) readPassword(stdin *cmdline.Stdin) error {
	if l.password != "" {
		return nil
	}
	in, err := stdin.Take("a password")
	if err != nil {
		return err
	}
	line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
	if err != nil && err != io.EOF {
		return fmt.Errorf("read the password from standard input: %w", err)
	}
	if l.password = strings.TrimRight(line, "\r\n"); l.password == "" {
		return cmdline.Usage(errors.New("--password-stdin: standard input holds no password"))
	}
	return nil
}

// check refuses to send one registry's password to another: the first reference
// that it is given determines the registry.
func (l *login) check(ref string) error {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return nil // opening it will say what is wrong with it
	}
	domain := reference.Domain(named)
	if l.domain == "" {
		l.domain = domain
	}
	if domain != l.domain {
		return cmdline.Usage(cmdline.Hint(fmt.Errorf("--username and --password-stdin are for one registry, and there are two: %q and %q", l.domain, domain),
			`log in to each with "docker login" or "podman login"`))
	}
	return nil
}
