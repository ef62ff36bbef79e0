package tree

import (
	"io"
	"strings"
)

// NewDir returns a directory owned by 0:0 with time 0.
func NewDir(path string, mode uint32) *Entry {
	return &Entry{Path: path, Type: Dir, Mode: mode}
}

// NewImpliedDir returns a directory that is there only to hold what is below it,
// such as Complete adds.
func NewImpliedDir(path string) *Entry { return impliedDir(path, 0, "") }

func impliedDir(path string, modTime int64, source string) *Entry {
	return &Entry{Path: path, Type: Dir, Mode: 0o755, Implied: true, ModTime: modTime, Source: source}
}

// NewFile returns a regular file owned by 0:0 with time 0 that holds text.
func NewFile(path string, mode uint32, text string) *Entry {
	return &Entry{
		Path: path, Type: Regular, Mode: mode, Size: int64(len(text)),
		Content: OpenFunc(func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }),
	}
}

// NewSymlink returns a symlink to target, owned by 0:0 with time 0.
func NewSymlink(path, target string) *Entry {
	return &Entry{Path: path, Type: Symlink, Mode: 0o777, Linkname: target}
}
