package nixstore

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/internal/layering"
)

// PathInfo is a Nix store's record of a store path. Fields that a source does not
// have stay empty.
type PathInfo struct {
	// Path is the store path.
	Path string
	// NarHash is the SHA-256 of the path's archive (NAR).
	NarHash digest.Digest
	// NarSize is the size of that archive in bytes.
	NarSize uint64
	// References are the store paths that the files below Path mention, each once.
	// Path itself may be among them.
	References []string
	// Deriver is the store path of the derivation that made the path.
	Deriver string
	// RegistrationTime is when the path became valid, in seconds since 1970.
	RegistrationTime int64
	// Ultimate says that the path was built by this store, and not copied.
	Ultimate bool
	// Sigs are signatures, as "key name:base 64".
	Sigs []string
	// CA is the content address that the path's name was computed from, if it has
	// one: "text:sha256:…", "fixed:r:sha256:…" and the like.
	CA string
}

// Nodes returns the store paths in the form that package layering needs.
func Nodes(infos []PathInfo) []layering.Node {
	nodes := make([]layering.Node, len(infos))
	for i, info := range infos {
		nodes[i] = layering.Node{Path: info.Path, NarSize: info.NarSize, References: info.References}
	}
	return nodes
}

// sha256Len is the length of a SHA-256 in bytes.
const sha256Len = 32

// ParseHash reads a SHA-256 in one of the forms that Nix writes: "sha256:" and
// 64 hexadecimal or 52 base-32 digits, these digits alone, or "sha256-" and
// base 64, as in Subresource Integrity.
func ParseHash(s string) (digest.Digest, error) {
	bytes, err := parseHash(s)
	if err != nil {
		return "", fmt.Errorf("%.100q is not a SHA-256: %w", s, err)
	}
	return digest.NewDigestFromBytes(digest.SHA256, bytes), nil
}

func parseHash(s string) ([]byte, error) {
	if text, ok := strings.CutPrefix(s, "sha256-"); ok {
		bytes, err := base64.StdEncoding.Strict().DecodeString(text)
		if err == nil && len(bytes) != sha256Len {
			err = fmt.Errorf("it has %d bytes", len(bytes))
		}
		return bytes, err
	}
	text := strings.TrimPrefix(s, "sha256:")
	switch len(text) {
	case hex.EncodedLen(sha256Len):
		return hex.DecodeString(text)
	case (sha256Len*8 + 4) / 5:
		return ParseBase32(text)
	}
	return nil, errors.New(`want "sha256:" and 64 hexadecimal or 52 base-32 digits`)
}
