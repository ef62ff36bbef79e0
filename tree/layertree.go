package tree

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"strings"
	"time"
)

const (
	whiteoutOpaque = ".wh..wh..opq"
	// whiteoutMeta begins the names that aufs reserves for itself.
	whiteoutMeta = ".wh..wh."
)

// layerIndex reads one layer into a tree of its own.
type layerIndex struct {
	tarScan
	number int
	title  string
	source LayerSource
	// random says that an open layer is an io.ReaderAt.
	random bool
	root   *node
	hides  hides
	// links are the hard links to lower layers, in their order.
	links []*node
	// newHash makes what hashes a file's content; hash is for the one that is being read.
	newHash func() hash.Hash
	hash    hash.Hash
}

func newLayerIndex(number int, source LayerSource, limits *limits, lenient bool) *layerIndex {
	x := &layerIndex{number: number, title: source.Title(), source: source}
	x.limits, x.lenient = limits, lenient
	x.hashWith(seededHash())
	x.root = &node{entry: impliedDir(".", 0, x.title)}
	return x
}

// hashWith sets how contents are hashed.
func (x *layerIndex) hashWith(newHash func() hash.Hash) {
	x.newHash, x.hash = newHash, newHash()
	x.body = x.hash
}

// read reads the layer to its end.
func (x *layerIndex) read(ctx context.Context) error {
	r, err := x.source.Open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	_, x.random = r.(io.ReaderAt)
	x.src = &tarSource{ctx: ctx, r: bufio.NewReaderSize(&limitReader{r, &x.limits.bytes}, 64<<10)}
	err = x.scan(x.add)
	x.src, x.buf = nil, nil
	var limit *LimitError
	if err == nil || errors.As(err, &limit) {
		return err
	}
	// If these are not the promised bytes, that is the error to report.
	rest := &tarSource{ctx: ctx, r: bufio.NewReaderSize(&limitReader{r, &x.limits.bytes}, 64<<10)}
	if _, readErr := io.Copy(io.Discard, rest); readErr != nil {
		return readErr
	}
	return err
}

// add adds the entry whose headers start at start and whose content, with its
// padding, ends at end.
func (x *layerIndex) add(hdr *tar.Header, start, end int64) error {
	defer x.hash.Reset()
	if hdr.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := archivePath(hdr.Name)
	if err != nil {
		return err
	}
	if first, _, _ := strings.Cut(name, "/"); strings.HasPrefix(first, whiteoutMeta) && first != whiteoutOpaque {
		return nil
	}
	dir, base := path.Split(name)
	for c := range strings.SplitSeq(dir, "/") {
		if strings.HasPrefix(c, WhiteoutPrefix) {
			return fmt.Errorf("%q is a whiteout, and nothing can be below it", c)
		}
	}
	if strings.HasPrefix(base, WhiteoutPrefix) {
		return x.whiteout(dir, base)
	}
	if hdr.Typeflag == tar.TypeLink {
		return x.link(hdr, name)
	}
	if err := checkKind(hdr, name); err != nil {
		return err
	}
	if err := checkLayerXattrs(hdr); err != nil {
		return err
	}
	if x.lenient && !inTime(hdr.ModTime.Unix()) {
		hdr.ModTime = time.Unix(0, 0)
	}
	e, err := headerEntry(hdr, name)
	if err != nil {
		return err
	}
	n := &node{entry: e}
	if e.Type == Regular {
		e.Size = hdr.Size
		n.file = &extent{layer: x.number, start: start, sparse: isSparse(hdr), size: hdr.Size, sum: sumOf(x.hash)}
		if !n.file.sparse {
			n.file.start = end - roundUp(hdr.Size)
		}
	}
	return x.place(name, n)
}

// checkLayerXattrs refuses attributes that overlay file systems use to hide or
// redirect files.
func checkLayerXattrs(hdr *tar.Header) error {
	for key := range hdr.PAXRecords {
		name, ok := strings.CutPrefix(key, XattrRecord)
		if !ok {
			continue
		}
		for _, prefix := range []string{"trusted.overlay.", "user.overlay.", "user.fuseoverlayfs."} {
			if strings.HasPrefix(name, prefix) {
				return fmt.Errorf("its extended attribute %q is one that overlay file systems obey: layers hide files by whiteouts alone", prefix+"*")
			}
		}
	}
	return nil
}

// place puts n at name, and adds its parents.
func (x *layerIndex) place(name string, n *node) error {
	n.entry.Source = x.title
	if name == "." {
		x.root.entry = n.entry
		return nil
	}
	dir, base := path.Split(name)
	parent, err := x.directory(path.Clean(dir), n.entry)
	if err != nil {
		return err
	}
	// The name is held once, as the key and, if no symlink is on it, as the
	// path.
	n.entry.Path = name
	if parent.entry.Path != path.Clean(dir) {
		n.entry.Path = path.Join(parent.entry.Path, base)
		base = n.entry.Path[len(n.entry.Path)-len(base):]
	}
	if len(n.entry.Path) > maxPath {
		return fmt.Errorf("through symlinks its name gets %d bytes: paths have at most %d", len(n.entry.Path), maxPath)
	}
	if old := parent.children[base]; old != nil && old.entry.Type == Dir && n.entry.Type == Dir {
		old.entry = n.entry
		return nil
	}
	parent.set(base, n)
	return nil
}

// directory returns the directory called name, through the layer's own symlinks.
// It makes it if it is missing; because is the entry that needs it.
func (x *layerIndex) directory(name string, because *Entry) (*node, error) {
	if n, err := x.descend(name, because.ModTime); err != errThroughLink {
		return n, err
	}
	to, err := resolve(x.root, name, func(dir *node, name string) (*node, *Entry) {
		n := dir.children[path.Base(name)]
		if n == nil {
			return nil, nil
		}
		return n, n.entry
	})
	if err != nil {
		return nil, fmt.Errorf("it lies below a symlink, in %q: %w", brief(name), err)
	}
	if _, err := archivePath(to.path); err != nil {
		return nil, fmt.Errorf("it lies below a symlink, in %q: %w", brief(name), err)
	}
	// A short name can get a long path this way, and so can its missing parents.
	if err := x.limits.takeText(2 * len(to.path)); err != nil {
		return nil, err
	}
	return x.descend(to.path, because.ModTime)
}

var errThroughLink = errors.New("there is a symlink on the way")

// descend returns the directory called name and makes missing directories. It
// follows no symlinks.
func (x *layerIndex) descend(name string, mtime int64) (*node, error) {
	at := x.root
	if name == "." {
		return at, nil
	}
	for end := 0; end < len(name); end++ {
		start := end
		for end < len(name) && name[end] != '/' {
			end++
		}
		next := at.children[name[start:end]]
		if next == nil {
			if !x.limits.entries.take(1) {
				return nil, x.limits.tooMany()
			}
			next = &node{entry: impliedDir(name[:end], mtime, x.title)}
			at.set(name[start:end], next)
		}
		switch {
		case next.entry.Type == Symlink:
			return nil, errThroughLink
		case next.entry.Type != Dir:
			return nil, fmt.Errorf("it lies below %q, which is a %s", brief(name[:end]), next.entry.Type)
		}
		at = next
	}
	return at, nil
}

// link adds a hard link.
func (x *layerIndex) link(hdr *tar.Header, name string) error {
	target, err := archivePath(hdr.Linkname)
	switch {
	case err != nil:
		return fmt.Errorf("it is a hard link: %w", err)
	case hdr.Size != 0:
		return fmt.Errorf("a hard link cannot have a size, here of %d bytes", hdr.Size)
	case target == name:
		return errors.New("it is a hard link to itself")
	case name == ".":
		return errors.New("the root must be a directory")
	}
	at, err := x.root.follow(target)
	if err != nil {
		return fmt.Errorf("it is a hard link to %q, %w", brief(hdr.Linkname), err)
	}
	if at == nil || at.link != "" {
		// What the lower layers have there is known only when the layers are
		// merged.
		if at != nil {
			target = at.link
		}
		n := &node{entry: &Entry{Type: Regular, Path: name}, link: target}
		x.links = append(x.links, n)
		return x.place(name, n)
	}
	e := *at.entry
	return x.place(name, &node{entry: &e, file: at.file})
}

// follow returns the node at name, or nil if this tree does not have it. A
// directory there is an error, and so is a non-directory on the way.
func (n *node) follow(name string) (*node, error) {
	for c := range strings.SplitSeq(name, "/") {
		if n.entry.Type != Dir {
			return nil, fmt.Errorf("which leads through %q, a %s", brief(n.entry.Path), n.entry.Type)
		}
		if c == "." { // the root
			break
		}
		if n = n.children[c]; n == nil {
			return nil, nil
		}
	}
	if n.entry.Type == Dir {
		return nil, errors.New("which is a directory")
	}
	return n, nil
}
