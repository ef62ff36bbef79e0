package nixstore

import (
	"strings"

	"github.com/varve-image/varve/internal/problems"
)

// CheckClaims reports the path's signatures and content address that Nix could not
// read: in a database they would keep it from reading anything about the path. It
// does not check whether they are true.
func (p *PathInfo) CheckClaims() error {
	var bad problems.List
	for _, sig := range p.Sigs {
		name, value, _ := strings.Cut(sig, ":")
		if name == "" || value == "" || strings.Join(strings.Fields(sig), "") != sig || strings.ContainsRune(sig, 0) {
			bad.Addf("path %.300q: signature %.300q is not \"key name:base 64\"", p.Path, sig)
		}
	}
	if p.CA != "" && !isCA(p.CA) {
		bad.Addf("path %.300q: %.300q is not a content address, such as fixed:r:sha256:…", p.Path, p.CA)
	}
	return bad.Err()
}

// HashSize returns the length in bytes of an algorithm's hashes; 0 if Nix has no
// algorithm of this name.
func HashSize(algorithm string) int {
	switch algorithm {
	case "md5":
		return 16
	case "sha1":
		return 20
	case "sha256", "blake3":
		return 32
	case "sha512":
		return 64
	}
	return 0
}

// isCA reports whether Nix reads a text as a content address (content-address.cc):
// "text:" or "fixed:", for the latter "r:" or "git:", an algorithm and a hash.
func isCA(text string) bool {
	rest, isText := strings.CutPrefix(text, "text:")
	if !isText {
		var fixed bool
		if rest, fixed = strings.CutPrefix(text, "fixed:"); !fixed {
			return false
		}
		for _, method := range []string{"r:", "git:"} {
			if r, ok := strings.CutPrefix(rest, method); ok {
				rest = r
				break
			}
		}
	}
	algorithm, hash, _ := strings.Cut(rest, ":")
	n := HashSize(algorithm)
	if n == 0 || isText && algorithm != "sha256" {
		return false
	}
	const hexDigits, base64 = "0123456789abcdefABCDEF", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
	switch len(hash) {
	case 2 * n:
		return strings.Trim(hash, hexDigits) == ""
	case (8*n-1)/5 + 1:
		_, err := ParseBase32(hash)
		return err == nil
	case (n + 2) / 3 * 4:
		return strings.Trim(hash, base64) == ""
	}
	return false
}
