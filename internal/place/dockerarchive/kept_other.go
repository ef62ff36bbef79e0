//go:build !linux

package dockerarchive

import "os"

// inMemory reports whether a file takes memory instead of space on a disk.
func inMemory(*os.File) bool { return false }
