package suggest

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	names := []string{"uid", "gid", "name", "uname", "copyToRoot", "contents"}
	for _, tt := range []struct{ got, want string }{
		{"COPYTOROOT", "copyToRoot"}, {"copyRoot", "copyToRoot"}, {"content", "contents"}, {"nam", "name"}, {"mane", ""}, {"nmae", "name"}, {"copy", "copyToRoot"},
		{"uuid", "uid"}, {"zzz", ""}, {"", ""}, {strings.Repeat("x", 1<<20), ""},
	} {
		if got := Nearest(tt.got, names); got != tt.want {
			t.Errorf("Nearest(%.20q) = %q, want %q", tt.got, got, tt.want)
		}
	}
}
