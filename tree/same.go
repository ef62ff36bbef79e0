package tree

import (
	"bytes"
	"fmt"
	"io"
	"maps"
)

// difference returns how two entries for one path differ, or "" if they differ
// in nothing that reaches an image.
func (m *merger) difference(a, b *Entry) (string, error) {
	switch {
	case a.Type != b.Type:
		return fmt.Sprintf("a %s and a %s", a.Type, b.Type), nil
	case a.Linkname != b.Linkname:
		return fmt.Sprintf("symlinks to %q and %q", a.Linkname, b.Linkname), nil
	case a.Mode != b.Mode && a.Type != Symlink:
		return fmt.Sprintf("%s with modes %04o and %04o", a.Type, a.Mode, b.Mode), nil
	case a.UID != b.UID || a.GID != b.GID || a.Uname != b.Uname || a.Gname != b.Gname:
		return fmt.Sprintf("%s with owners %s and %s", a.Type, ownerOf(a), ownerOf(b)), nil
	case !maps.Equal(a.Xattrs, b.Xattrs):
		return fmt.Sprintf("%s with different extended attributes", a.Type), nil
	case a.Devmajor != b.Devmajor || a.Devminor != b.Devminor:
		return fmt.Sprintf("%s with numbers %d,%d and %d,%d", a.Type, a.Devmajor, a.Devminor, b.Devmajor, b.Devminor), nil
	case a.Size != b.Size:
		return fmt.Sprintf("%s of %d and %d bytes", a.Type, a.Size, b.Size), nil
	case a.Type != Regular || a.Size == 0:
		return "", nil
	}
	same, err := m.sameContent(a, b)
	if err != nil {
		return "", fmt.Errorf("compare %q %s and %s: %w", a.Path, from(a), from(b), err)
	}
	if !same {
		return "regular file with different contents", nil
	}
	return "", nil
}

func ownerOf(e *Entry) string {
	if e.Uname == "" && e.Gname == "" {
		return fmt.Sprintf("%d:%d", e.UID, e.GID)
	}
	return fmt.Sprintf("%d:%d (%q:%q)", e.UID, e.GID, e.Uname, e.Gname)
}

// sameContent compares the contents of two files of equal size.
func (m *merger) sameContent(a, b *Entry) (bool, error) {
	if m.left == nil {
		m.left, m.right = make([]byte, 64<<10), make([]byte, 64<<10)
	}
	ra, err := a.Open()
	if err != nil {
		return false, err
	}
	defer ra.Close()
	rb, err := b.Open()
	if err != nil {
		return false, err
	}
	defer rb.Close()
	for {
		if err := m.ctx.Err(); err != nil {
			return false, err
		}
		na, errA := io.ReadFull(ra, m.left)
		nb, errB := io.ReadFull(rb, m.right)
		for _, err := range []error{errA, errB} {
			if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
				return false, err
			}
		}
		if !bytes.Equal(m.left[:na], m.right[:nb]) {
			return false, nil
		}
		if errA != nil || errB != nil {
			return true, nil
		}
	}
}
