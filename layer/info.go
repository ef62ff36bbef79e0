package layer

import "github.com/opencontainers/go-digest"

// Info is what a manifest or config says of an uncompressed layer.
type Info struct {
	// DiffID is the SHA-256 of the tar.
	DiffID digest.Digest
	// Size is the tar's length in bytes.
	Size int64
}
