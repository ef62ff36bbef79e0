package sandbox

import (
	"bufio"
	"fmt"
	"io"
	"slices"

	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/tree"
)

// WriteChanges lists, one per line, what a step did to a tree: A for added, C for changed
// and D for deleted, with type, mode, owner and size.
func WriteChanges(w io.Writer, before, changes []*tree.Entry) error {
	b := bufio.NewWriterSize(w, 64<<10) // it remembers the first error
	changes = slices.Clone(changes)
	name := func(e *tree.Entry) string {
		hidden, _ := tree.Hidden(e)
		return hidden
	}
	slices.SortFunc(changes, func(a, b *tree.Entry) int { return tree.Compare(name(a), name(b)) })
	for _, e := range changes {
		old := tree.Find(before, e.Path)
		switch hidden, gone := tree.Hidden(e); {
		case gone:
			fmt.Fprintf(b, "D %s\n", human.Plain("/"+hidden))
			continue
		case old == e: // a directory on the way to a change
			continue
		case old == nil:
			fmt.Fprint(b, "A")
		default:
			fmt.Fprint(b, "C")
		}
		fmt.Fprintf(b, " %c %04o %d:%d", typeLetter(e.Type), e.Mode, e.UID, e.GID)
		if e.Type == tree.Regular {
			fmt.Fprintf(b, " %s", human.Size(e.Size))
		}
		fmt.Fprintf(b, " %s", human.Plain("/"+e.Path))
		if e.Linkname != "" {
			fmt.Fprintf(b, " -> %s", human.Plain(e.Linkname))
		}
		fmt.Fprintln(b)
	}
	return b.Flush()
}

// typeLetter returns the letter that ls shows for a type.
func typeLetter(t tree.Type) byte {
	switch t {
	case tree.Dir:
		return 'd'
	case tree.Symlink:
		return 'l'
	case tree.Char:
		return 'c'
	case tree.Block:
		return 'b'
	case tree.FIFO:
		return 'p'
	}
	return '-'
}
