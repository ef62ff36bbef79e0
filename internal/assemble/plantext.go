package assemble

import (
	"fmt"
	"strings"

	"github.com/varve-image/varve/internal/human"
)

// PlanText returns the plan for people to read: a line for each layer, with its
// store paths below it.
func PlanText(layers []PlannedLayer) string {
	var b strings.Builder
	for i, l := range layers {
		fmt.Fprintf(&b, "layer %d/%d  %s  %s", i+1, len(layers), l.Kind, human.Size(int64(l.Size)))
		if l.Kind == KindTree {
			fmt.Fprintf(&b, "  %d files and directories", l.Files)
		}
		if l.Kept != nil {
			b.WriteString(map[bool]string{true: "  kept", false: "  new"}[*l.Kept])
		}
		b.WriteByte('\n')
		for _, p := range l.Paths {
			fmt.Fprintf(&b, "  %s\n", p)
		}
	}
	return b.String()
}
