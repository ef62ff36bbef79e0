package sandbox

import "testing"

// TestLimitError: the message says which limit was reached, and how that was noticed.
func TestLimitError(t *testing.T) {
	limits := Limits{Memory: 64 << 20, Disk: 8 << 20}
	for want, err := range map[string]*LimitError{
		"step s was ended: it reached its limit of 64 MiB of memory":                                          {Limit: LimitMemory},
		"step s was ended: it reached its limit of 8 MiB of disk: with its holes \"a\\n\" is 2 KiB":           {Limit: LimitDisk, File: "a\n", Size: 2048},
		"step s was ended: what it used of its limit of 8 MiB of disk could not be looked at: \"open \\x1b\"": {Limit: LimitDisk, Unseen: "open \x1b"},
	} {
		err.Name, err.Limits = "s", limits
		if got := err.Error(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
