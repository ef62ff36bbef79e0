// Package suggest guesses what a wrong word was meant to be.
package suggest

import (
	"cmp"
	"slices"
	"strings"
)

// maxWord is the length in bytes of the longest word that is considered.
const maxWord = 80

// Nearest returns the name that got most likely means, or "": one with similar
// letters, ignoring case, or else one that begins with got.
func Nearest(got string, names []string) string {
	if len(got) > maxWord {
		return ""
	}
	got = strings.ToLower(got)
	best, least, begun := "", 1+max(1, len(got)/3), ""
	for _, name := range slices.Sorted(slices.Values(names)) {
		lower := strings.ToLower(name)
		if d := distance(got, lower); d < least {
			best, least = name, d
		}
		if len(got) > 2 && strings.HasPrefix(lower, got) {
			begun = cmp.Or(begun, name)
		}
	}
	return cmp.Or(best, begun)
}

// distance returns how many bytes must be inserted, deleted, replaced or swapped
// with their neighbour to turn a into b (optimal string alignment).
func distance(a, b string) int {
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			replaced := row[j]
			if a[i] != b[j] {
				replaced++
			}
			next[j+1] = min(replaced, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
