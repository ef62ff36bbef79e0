//go:build !linux

package regfile

// ChangesIn takes every file system for one that passes times on.
func ChangesIn(int) (Changes, error) { return Passed, nil }
