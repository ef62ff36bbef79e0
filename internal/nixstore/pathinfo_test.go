package nixstore

import (
	"strings"
	"testing"
)

func TestParseHash(t *testing.T) {
	for _, in := range []string{
		"sha256:" + hash32, hash32, "sha256:" + hash16, hash16, "sha256:" + strings.ToUpper(hash16),
		"sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
	} {
		if got, err := ParseHash(in); err != nil || got != hash {
			t.Errorf("ParseHash(%q) = %q, %v", in, got, err)
		}
	}
	for _, in := range []string{
		"", "sha256:", "sha1:" + hash32, "sha256:" + hash32[1:], "sha256:e" + hash32[1:], "sha256:z" + hash32[1:],
		hash16[2:], "g" + hash16[1:], "sha256-", "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=", "sha256-47DE",
		"sha256-" + hash32, "sha512:" + hash16 + hash16, "sha256:" + hash16 + "\n", "sha256: " + hash32,
	} {
		if got, err := ParseHash(in); err == nil || !strings.Contains(err.Error(), "is not a SHA-256") {
			t.Errorf("ParseHash(%q) = %q, %v", in, got, err)
		}
	}
}
