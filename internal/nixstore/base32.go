package nixstore

import (
	"fmt"
)

// base32Digits are the digits of Nix's base 32 by value: no e, o, u and t.
const base32Digits = "0123456789abcdfghijklmnpqrsvwxyz"

// notDigit is digitValue's entry for a byte that is not a digit.
const notDigit = 0xff

// digitValue maps a byte to the digit's value, or to notDigit.
var digitValue = func() (table [256]byte) {
	for i := range table {
		table[i] = notDigit
	}
	for i := range len(base32Digits) {
		table[base32Digits[i]] = byte(i)
	}
	return table
}()

// Base32 writes b in Nix's base 32: b as one little-endian number, its most
// significant digit first, as many digits as its length needs (32 for 20
// bytes, 52 for 32).
//
// Source: printHash32 of Nix; "nix-hash --to-base32".
func Base32(b []byte) string {
	out := make([]byte, (len(b)*8+4)/5)
	for n := range out {
		i, shift := n*5/8, n*5%8
		c := b[i] >> shift
		if i+1 < len(b) {
			c |= b[i+1] << (8 - shift)
		}
		out[len(out)-1-n] = base32Digits[c&31]
	}
	return string(out)
}

// ParseBase32 reads what Base32 writes. A length that no whole number of bytes has,
// a character that is not a digit, and a number too large for the bytes are errors.
func ParseBase32(s string) ([]byte, error) {
	size := len(s) * 5 / 8
	if len(s) != (size*8+4)/5 {
		return nil, fmt.Errorf("read base 32 %.300q: %d digits make no whole number of bytes", s, len(s))
	}
	out := make([]byte, size)
	for n := range len(s) {
		at := len(s) - 1 - n
		digit := digitValue[s[at]]
		if digit == notDigit {
			return nil, fmt.Errorf("read base 32 %.300q: %q is not a digit", s, s[at:at+1])
		}
		i, shift := n*5/8, n*5%8
		out[i] |= digit << shift
		carry := digit >> (8 - shift)
		if i+1 < size {
			out[i+1] |= carry
		} else if carry != 0 {
			return nil, fmt.Errorf("read base 32 %.300q: the number is too large for %d bytes", s, size)
		}
	}
	return out, nil
}
