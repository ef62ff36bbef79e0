package tree

import (
	"strings"
	"unicode/utf8"
)

// CompareCodePoints orders names as Python orders strings, which is how nixpkgs
// orders the files of a store layer: by code point, where a byte that is not
// UTF-8 counts as U+DC00 plus itself (PEP 383). It differs from the order of the
// bytes only where such a byte is compared with a character above U+DCFF.
func CompareCodePoints(a, b string) int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] && a[i] < utf8.RuneSelf {
		i++
	}
	a, b = a[i:], b[i:]
	for len(a) > 0 && len(b) > 0 {
		ra, na := codePoint(a)
		rb, nb := codePoint(b)
		if ra != rb {
			return int(ra) - int(rb)
		}
		a, b = a[na:], b[nb:]
	}
	return strings.Compare(a, b)
}

func codePoint(s string) (rune, int) {
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		return 0xdc00 + rune(s[0]), 1
	}
	return r, n
}
