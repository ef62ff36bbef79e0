package nixstore

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/varve-image/varve/internal/problems"
	"github.com/varve-image/varve/internal/regfile"
)

// ReadClosureFile reads the closure that file describes, in whichever form: JSON as
// for ReadGraph if the first character other than white space is "{" or "[", else
// text as for ReadRegistration. A directory stands for its file "registration", as
// in the output of nixpkgs' closureInfo. Anything but a regular file is refused
// without being opened.
func ReadClosureFile(storeDir, file string) ([]PathInfo, error) {
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		file = filepath.Join(file, "registration")
	}
	f, err := regfile.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read closure %q: %w", file, regfile.Cause(err))
	}
	defer f.Close()
	nodes, err := readClosure(storeDir, f)
	if err != nil {
		return nil, fmt.Errorf("read closure %q: %w", file, err)
	}
	return nodes, nil
}

// readClosure finds out the form from the content.
func readClosure(storeDir string, r io.Reader) ([]PathInfo, error) {
	br := bufio.NewReader(r)
	// More white space than the buffer holds is not a closure of either form: the
	// reader of text then says so.
	head, err := br.Peek(br.Size())
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for _, c := range head {
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		case '{', '[':
			return ReadGraph(storeDir, br)
		}
		break
	}
	return ReadRegistration(storeDir, br)
}

// closure collects nodes and what is wrong with them.
type closure struct {
	storeDir string
	nodes    []PathInfo
	// index finds a node by its path.
	index map[string]int
	// names holds one copy of each path, which references then share.
	names    map[string]string
	problems problems.List
}

func newClosure(storeDir string) (*closure, error) {
	dir, err := cleanStoreDir(storeDir)
	if err != nil {
		return nil, err
	}
	return &closure{storeDir: dir, nodes: []PathInfo{}, index: map[string]int{}, names: map[string]string{}}, nil
}

// name returns s, or an equal string seen earlier.
func (c *closure) name(s string) string {
	if known, ok := c.names[s]; ok {
		return known
	}
	c.names[s] = s
	return s
}

// add appends a node; where describes its place in the input to a person.
func (c *closure) add(where string, node PathInfo) {
	if _, ok := c.index[node.Path]; ok {
		c.problems.Addf("%s: path %.300q is there already", where, node.Path)
		return
	}
	if _, err := parsePath(c.storeDir, node.Path); err != nil {
		c.problems.Addf("%s: %w", where, err)
	}
	if node.Deriver != "" {
		if _, err := parsePath(c.storeDir, node.Deriver); err != nil {
			c.problems.Addf("%s: deriver %w", where, err)
		}
	}
	c.index[node.Path] = len(c.nodes)
	c.nodes = append(c.nodes, node)
}

// finish checks the references once all nodes are there. The closure of no paths is
// empty, not nil.
func (c *closure) finish() ([]PathInfo, error) {
	for _, node := range c.nodes {
		for _, ref := range node.References {
			if _, ok := c.index[ref]; ok {
				continue
			}
			if _, err := parsePath(c.storeDir, ref); err != nil {
				c.problems.Addf("path %.300q: reference %w", node.Path, err)
			} else {
				c.problems.Addf("path %.300q: its reference %.300q is not in the closure", node.Path, ref)
			}
		}
	}
	if err := c.problems.Err(); err != nil {
		return nil, err
	}
	return c.nodes, nil
}

// limitedReader fails once more than left bytes have been read, where an
// io.LimitedReader would report the end of the input.
type limitedReader struct {
	r           io.Reader
	left, limit int64
}

func newLimitedReader(r io.Reader, limit int64) *limitedReader {
	return &limitedReader{r: r, left: limit, limit: limit}
}

func (b *limitedReader) Read(p []byte) (int, error) {
	// One byte past the limit distinguishes an input that ends there from a longer one.
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		b.left = 0
		return 0, fmt.Errorf("it is longer than %d MiB", b.limit>>20)
	}
	return n, err
}
