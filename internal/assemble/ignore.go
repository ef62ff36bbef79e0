package assemble

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// maxIgnoreFile limits the size of an ignore file, in bytes.
const maxIgnoreFile = 1 << 20

// ignore leaves out what the ignore file of a source says, and notes secrets that are left. What is
// in the store is public.
func (b *builder) ignore(ctx context.Context, field string, entries []*tree.Entry, c spec.Copy, inStore bool) ([]*tree.Entry, error) {
	if c.IgnoreFile != "" {
		var err error
		if entries, err = b.ignored(ctx, field, entries, c); err != nil {
			return nil, err
		}
	}
	if !inStore {
		kept, _, err := tree.Exclude(entries, c.Exclude)
		if err != nil {
			return nil, err
		}
		b.noteSecrets(field, c.Source, kept)
	}
	return entries, nil
}

func (b *builder) ignored(ctx context.Context, field string, entries []*tree.Entry, c spec.Copy) ([]*tree.Entry, error) {
	if len(entries) > 0 && entries[0].Type != tree.Dir {
		return nil, fmt.Errorf("ignoreFile is for directories and tarballs, and %q is neither", c.Source)
	}
	p, _, err := b.follow(c.IgnoreFile)
	if err != nil {
		return nil, fmt.Errorf("ignoreFile: %w", err)
	}
	data, err := regfile.Read(p, maxIgnoreFile)
	if err != nil {
		return nil, fmt.Errorf("ignoreFile %q: %w", c.IgnoreFile, err)
	}
	patterns, err := ignorePatterns(data)
	if err != nil {
		return nil, fmt.Errorf("ignoreFile %q: %w", c.IgnoreFile, err)
	}
	kept, err := withoutIgnored(ctx, entries, patterns)
	if err != nil {
		return nil, err
	}
	b.debugf("%s: %q leaves out %d of %d entries", field, c.IgnoreFile, len(entries)-len(kept), len(entries))
	return kept, nil
}

// ignorePatterns reads the text of an ignore file.
func ignorePatterns(data []byte) (*patternmatcher.PatternMatcher, error) {
	lines, err := ignorefile.ReadAll(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		_, err := patternmatcher.New([]string{line})
		if err == nil { // it is compiled where it is first needed, and one with ! after others alone
			_, err = patternmatcher.MatchesOrParentMatches("a", []string{strings.TrimPrefix(line, "!")})
		}
		if err != nil {
			return nil, fmt.Errorf("%q is not a valid pattern: %w", line, err)
		}
	}
	return patternmatcher.New(lines)
}

// withoutIgnored returns the entries that the patterns leave. A directory that they leave out is
// there if something in it is kept: each entry is judged by its own path and those above it.
func withoutIgnored(ctx context.Context, entries []*tree.Entry, patterns *patternmatcher.PatternMatcher) ([]*tree.Entry, error) {
	keep := map[string]bool{".": true}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if e.Path == "." {
			continue
		}
		out, err := patterns.MatchesOrParentMatches(e.Path)
		if err != nil {
			return nil, fmt.Errorf("ignoreFile: %w", err)
		}
		for p := e.Path; !out && !keep[p]; p = path.Dir(p) {
			keep[p] = true
		}
	}
	kept := make([]*tree.Entry, 0, len(keep))
	for _, e := range entries {
		if keep[e.Path] {
			kept = append(kept, e)
		}
	}
	return kept, nil
}

// The bounds of a search for secrets: how many files it opens, and how much of each it reads.
const (
	mostLooks  = 100
	keyPreview = 4096
)

// noteSecrets says which entries of a source look like secrets that nobody wants in an image.
func (b *builder) noteSecrets(field, source string, entries []*tree.Entry) {
	var found []string
	looks, git := 0, ""
	for _, e := range entries {
		name := path.Base(e.Path)
		switch {
		case e.Path == ".", git != "" && strings.HasPrefix(e.Path, git):
		case name == ".git":
			git = e.Path + "/"
			found = append(found, e.Path)
		case name == ".env" && e.Type == tree.Regular:
			found = append(found, e.Path)
		case e.Type == tree.Regular && maybeKey(name) && looks < mostLooks:
			looks++
			if isPrivateKey(e) {
				found = append(found, e.Path)
			}
		}
	}
	if len(found) == 0 {
		return
	}
	more := ""
	if len(found) > 1 {
		more = fmt.Sprintf(" (and %d more)", len(found)-1)
	}
	b.notes = append(b.notes, fmt.Sprintf("%s: %q%s goes into the image and may hold secrets: if it should not, write exclude: [%q] or ignoreFile",
		field, path.Join(b.spec.Written(source), found[0]), more, found[0]))
}

// maybeKey reports whether a file with this name may be a private key.
func maybeKey(name string) bool {
	return slices.Contains([]string{"id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"}, name) ||
		strings.HasSuffix(name, ".pem") || strings.HasSuffix(name, ".key")
}

// isPrivateKey reports whether a file begins as private keys do. One that cannot be read is an
// error of whoever copies it.
func isPrivateKey(e *tree.Entry) bool {
	r, err := e.Open()
	if err != nil {
		return false
	}
	defer r.Close()
	begin, _ := io.ReadAll(io.LimitReader(r, keyPreview))
	_, after, found := bytes.Cut(begin, []byte("-----BEGIN "))
	line, _, _ := bytes.Cut(after, []byte("\n"))
	return found && bytes.Contains(line, []byte("PRIVATE KEY"))
}
