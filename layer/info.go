package layer

import "github.com/opencontainers/go-digest"

// Info describes an uncompressed layer, for a manifest or a config.
type Info struct {
	// DiffID is the SHA-256 of the tar.
	DiffID digest.Digest
	// Size is the tar's length in bytes.
	Size int64
}
