package nixstore

import (
	"strings"
	"testing"
)

func TestCheckClaims(t *testing.T) {
	hexadecimal, base32 := strings.Repeat("0a", 32), strings.Repeat("0", 52)
	for text, ok := range map[string]bool{
		"":                                               true,
		"fixed:r:sha256:" + base32:                       true,
		"fixed:sha256:" + hexadecimal:                    true,
		"fixed:r:blake3:" + base32:                       true,
		"fixed:git:sha1:" + hexadecimal[:40]:             true,
		"text:sha256:" + base32:                          true,
		"fixed:md5:" + hexadecimal[:32]:                  true,
		"fixed:sha512:" + strings.Repeat("A", 86) + "==": true,
		"text:sha1:" + hexadecimal[:40]:                  false,
		"garbage":                                        false,
		"fixed:r:sha256:zz":                              false,
		"fixed:r:sha256:" + base32[1:]:                   false,
		"fixed:r:sha256:" + base32[1:] + "e":             false,
		"fixed:x:sha256:" + base32:                       false,
		"fixed:r:sha3:" + base32:                         false,
		"fixed:r:sha256:" + base32 + "\n":                false,
	} {
		p := PathInfo{Path: "/nix/store/x", CA: text}
		if err := p.CheckClaims(); (err == nil) != ok {
			t.Errorf("content address %q: error %v", text, err)
		}
	}
	for text, ok := range map[string]bool{
		"cache.nixos.org-1:abc=": true, "no colon": false, ":x": false, "x:": false, "a:b c": false, "a:b\nc": false, "a:\x00": false,
	} {
		p := PathInfo{Path: "/nix/store/x", Sigs: []string{text}}
		if err := p.CheckClaims(); (err == nil) != ok {
			t.Errorf("signature %q: error %v", text, err)
		}
	}
}
