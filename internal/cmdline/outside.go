package cmdline

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// OutsideOf refuses an output that lies in one of the directories that are put into
// it; what describes how they are.
func OutsideOf(output string, sources []string, what string) error {
	if output == "-" || output == "" {
		return nil
	}
	at, err := filepath.Abs(output)
	if err != nil {
		return err
	}
	for _, source := range sources {
		dir, err := filepath.Abs(source)
		if err != nil {
			return err
		}
		if st, err := os.Stat(dir); err == nil && st.IsDir() && strings.HasPrefix(at+"/", strings.TrimSuffix(dir, "/")+"/") {
			return Usage(Hint(fmt.Errorf("the output %q lies in %q, which %s", output, source, what),
				"write it elsewhere, or what is made next will hold it"))
		}
	}
	return nil
}
