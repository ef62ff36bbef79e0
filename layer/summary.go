package layer

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"

	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/tree"
)

// Summary describes what is in a layer's tar.
type Summary struct {
	// Entries counts all members, Files the regular files and hard links to
	// them, Whiteouts the members that delete something in lower layers.
	Entries, Files, Whiteouts int
	// Bytes is the size of the files.
	Bytes int64
	// Places say where the entries are, in the order of the tar: a store path,
	// or the first directory of the name.
	Places []Place
}

// Place is a part of a layer.
type Place struct {
	// Path starts with a slash.
	Path  string
	Files int
	Bytes int64
}

// maxPlaces limits Summary.Places. What does not fit is counted in the last
// place, whose path is "…".
const maxPlaces = 10_000

// Summarize reads an uncompressed tar to its end.
func Summarize(ctx context.Context, r io.Reader) (*Summary, error) {
	in := ctxio.Reader(ctx, r)
	s := &Summary{}
	index := map[string]int{}
	tr := tar.NewReader(in)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			// What follows the end belongs to the layer and its digest as well.
			_, err = io.Copy(io.Discard, in)
			return s, err
		}
		if err != nil {
			return nil, fmt.Errorf("after %d entries: %w", s.Entries, err)
		}
		s.Entries++
		name := path.Clean("/" + h.Name)
		if strings.HasPrefix(path.Base(name), tree.WhiteoutPrefix) {
			s.Whiteouts++
		}
		if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeLink {
			continue
		}
		s.Files++
		s.Bytes += h.Size
		p := s.place(index, placeOf(name))
		p.Files++
		p.Bytes += h.Size
	}
}

func (s *Summary) place(index map[string]int, name string) *Place {
	i, ok := index[name]
	if !ok && len(s.Places) >= maxPlaces-1 {
		name = "…"
		i, ok = index[name]
	}
	if !ok {
		i = len(s.Places)
		index[name] = i
		s.Places = append(s.Places, Place{Path: name})
	}
	return &s.Places[i]
}

// storeName matches the start of a store path's name: 32 digits of Nix's base 32
// and a dash.
var storeName = regexp.MustCompile(`/[0-9a-df-np-sv-z]{32}-[^/]+`)

// placeOf returns the store path that a file is in, or the first component of
// its name.
func placeOf(name string) string {
	if at := storeName.FindStringIndex(name); at != nil {
		return name[:at[1]]
	}
	if end := strings.IndexByte(name[1:], '/'); end >= 0 {
		return name[:1+end]
	}
	return name
}
