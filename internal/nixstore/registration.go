package nixstore

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	// maxRegistration limits a registration, in bytes.
	maxRegistration = 512 << 20
	// maxLine limits a line, in bytes: a store directory and a name.
	maxLine = 8 << 10
)

// ReadRegistration reads a closure from the text that "nix-store --load-db"
// takes, "nix-store --dump-db" writes and nixpkgs' closureInfo has in its file
// registration. Each path has a line for each of: itself, the hash of its
// contents, their size in bytes, its deriver (may be empty), the number of its
// references, and each reference.
//
// The hash is in a form that ParseHash takes.
//
// exportReferencesGraph without structured attributes writes the same without hash
// and size; sizes are then 0. That form is recognised by the second line, which is
// a deriver: empty or an absolute path.
//
// Source: decodeValidPathInfo and makeValidityRegistration of Nix.
func ReadRegistration(storeDir string, r io.Reader) ([]PathInfo, error) {
	c, err := newClosure(storeDir)
	if err != nil {
		return nil, err
	}
	rd := &registrationReader{closure: c, lines: bufio.NewScanner(newLimitedReader(r, maxRegistration))}
	rd.lines.Buffer(nil, maxLine)
	for more := true; more; {
		if more, err = rd.entry(); err != nil {
			// Paths are certainly missing, so references are not checked.
			return nil, fmt.Errorf("read registration: %w", errors.Join(err, c.problems.Err()))
		}
	}
	nodes, err := c.finish()
	if err != nil {
		return nil, fmt.Errorf("read registration: %w", err)
	}
	return nodes, nil
}

// registrationReader reads a registration entry by entry.
type registrationReader struct {
	*closure
	lines *bufio.Scanner
	// line is the number of the line read last.
	line int
	// plain says that entries have no hash and size.
	plain bool
}

// errEnd is returned by next after the last line.
var errEnd = errors.New("it ends too early")

// entry reads one path and reports whether there was one left.
func (r *registrationReader) entry() (bool, error) {
	text, err := r.next()
	if errors.Is(err, errEnd) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	start := r.line
	node := PathInfo{Path: r.name(text)}
	if err := r.attributes(&node); err != nil {
		return false, fmt.Errorf("line %d: path %.300q: line %d: %w", start, node.Path, r.line, err)
	}
	r.add("line "+strconv.Itoa(start), node)
	return true, nil
}

// attributes reads what follows the path itself.
func (r *registrationReader) attributes(node *PathInfo) error {
	second, err := r.next()
	if err != nil {
		return err
	}
	if r.line == 2 {
		r.plain = second == "" || strings.HasPrefix(second, "/")
	}
	if !r.plain {
		if node.NarHash, err = ParseHash(second); err != nil {
			return fmt.Errorf("hash: %w", err)
		}
		size, err := r.next()
		if err != nil {
			return err
		}
		if node.NarSize, err = parseSize(size); err != nil {
			return fmt.Errorf("size: %w", err)
		}
		if node.Deriver, err = r.next(); err != nil {
			return err
		}
	} else {
		node.Deriver = second
	}
	text, err := r.next()
	if err != nil {
		return err
	}
	count, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return fmt.Errorf("number of references: want a whole number, got %.40q", text)
	}
	// The count does not decide how much memory is used: references are read one by one.
	for range count {
		ref, err := r.next()
		if err != nil {
			return err
		}
		node.References = append(node.References, r.name(ref))
	}
	return nil
}

// next returns the next line, or errEnd.
func (r *registrationReader) next() (string, error) {
	if r.lines.Scan() {
		r.line++
		return r.lines.Text(), nil
	}
	switch err := r.lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return "", fmt.Errorf("line %d is longer than %d bytes", r.line+1, maxLine)
	case err != nil:
		return "", err
	}
	return "", errEnd
}
