package cmdline

import (
	"testing"
	"time"
)

func TestAge(t *testing.T) {
	tests := []struct {
		text string
		want time.Duration
		back string
	}{
		{"30d", 30 * 24 * time.Hour, "30d"},
		{"12h", 12 * time.Hour, "12h0m0s"},
		{"48h", 48 * time.Hour, "2d"},
		{"0", 0, "0d"},
		{"-1h", -1, ""},
		{"-1d", -1, ""},
		{"70000d", -1, ""},
		{"d", -1, ""},
		{"", -1, ""},
	}
	for _, tt := range tests {
		var a Age
		switch err := a.Set(tt.text); {
		case (err == nil) != (tt.want >= 0):
			t.Errorf("%q: got the error %v", tt.text, err)
		case err == nil && (time.Duration(a) != tt.want || a.String() != tt.back):
			t.Errorf("%q: got %v, %s", tt.text, time.Duration(a), &a)
		}
	}
}
