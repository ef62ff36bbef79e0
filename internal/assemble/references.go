package assemble

import (
	"context"
	"io"

	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/tally"
	"github.com/varve-image/varve/tree"
)

// references finds the store paths that texts and trees mention.
type references struct {
	// byHash are the paths that can be found, by the hash part of their names.
	byHash map[string][]string
	hashes []string
}

func newReferences(storeDir string, candidates []string) (*references, error) {
	r := &references{byHash: map[string][]string{}}
	for _, p := range candidates {
		parsed, err := nixstore.ParsePath(storeDir, p)
		if err != nil {
			return nil, err
		}
		if r.byHash[parsed.Hash] == nil {
			r.hashes = append(r.hashes, parsed.Hash)
		}
		r.byHash[parsed.Hash] = append(r.byHash[parsed.Hash], p)
	}
	return r, nil
}

// paths returns what a scanner found.
func (r *references) paths(s *nixstore.Scanner) []string {
	var found []string
	for _, hash := range s.Found() {
		found = append(found, r.byHash[hash]...)
	}
	return found
}

// inText finds the paths that a text mentions.
func (r *references) inText(text []byte) []string {
	s := nixstore.NewScanner(r.hashes)
	_, _ = s.Write(text) // it never fails
	return r.paths(s)
}

// inTree finds the paths that a tree mentions: in names, in symlink targets, and in
// the content of files.
func (r *references) inTree(ctx context.Context, entries []*tree.Entry) ([]string, error) {
	if len(r.hashes) == 0 {
		return nil, nil
	}
	step := tally.Begin(ctx, "searching for store paths", "", 0)
	defer step.End()
	s := nixstore.NewScanner(r.hashes)
	buf := make([]byte, 1<<20)
	for _, e := range entries {
		for _, text := range []string{e.Path, e.Linkname} {
			_, _ = io.WriteString(s, text) // a Scanner never fails
			s.Next()
		}
		if e.Type != tree.Regular || e.Content == nil {
			continue
		}
		if err := scanFile(ctx, s, e, buf, step); err != nil {
			return nil, err
		}
	}
	return r.paths(s), nil
}

func scanFile(ctx context.Context, s *nixstore.Scanner, e *tree.Entry, buf []byte, step *tally.Step) error {
	f, err := e.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	defer s.Next()
	_, err = io.CopyBuffer(s, ctxio.Reader(ctx, io.TeeReader(f, step)), buf)
	return err
}
