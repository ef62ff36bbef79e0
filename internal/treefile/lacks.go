package treefile

import (
	"fmt"
	"strings"

	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/tree"
)

// Lacks describes what a directory that Write made lacks.
func Lacks(omitted []tree.Omitted) string {
	var parts []string
	for _, o := range omitted {
		e, files := o.Entry, human.Count(o.Count, "file")
		switch o.What {
		case tree.OmittedOwner:
			parts = append(parts, fmt.Sprintf("the owners of %s, such as %d:%d of %q", files, e.UID, e.GID, e.Path))
		case tree.OmittedSetID:
			parts = append(parts, fmt.Sprintf("the set-user-id or set-group-id bits of %s, which would give away your rights instead of the owner's, such as %q", files, e.Path))
		case tree.OmittedXattr:
			parts = append(parts, fmt.Sprintf("extended attributes of %s, such as %q", files, e.Path))
		case tree.OmittedDevice:
			parts = append(parts, fmt.Sprintf("%s, such as %q", human.Count(o.Count, "device"), e.Path))
		}
	}
	return strings.Join(parts, "; ")
}
