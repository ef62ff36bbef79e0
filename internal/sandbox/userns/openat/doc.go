// Package openat looks at a tree that a hostile process may change meanwhile: each file is
// found in a directory that is open already, and symlinks are not followed. Directories are
// limited, in entries and in depth.
package openat
