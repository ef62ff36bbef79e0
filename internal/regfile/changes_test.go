package regfile

import (
	"testing"
	"time"
)

// TestUnknown: a change time that may be a copy of the modification time is none.
func TestUnknown(t *testing.T) {
	const second = int64(time.Second)
	for name, tt := range map[string]struct {
		change, modified   int64
		kept, passed, lost bool
	}{
		"whole seconds":          {second, second, false, true, true},
		"none":                   {0, 0, false, true, true},
		"exact":                  {second + 5, second + 5, false, false, true},
		"another":                {second, 2 * second, false, false, false},
		"another, in one second": {second + 5, second, false, false, false},
	} {
		for c, want := range map[Changes]bool{Kept: tt.kept, Passed: tt.passed, Lost: tt.lost} {
			if got := c.Unknown(tt.change, tt.modified); got != want {
				t.Errorf("%s, %v: %v", name, c, got)
			}
		}
	}
}
