package image

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/varve-image/varve/image/ordjson"
)

// StorePathsComment returns the history comment that nixpkgs gives a layer: its
// paths as Python prints a list of strings.
func StorePathsComment(paths []string) string {
	quoted := make([]string, len(paths))
	for i, p := range paths {
		quoted[i] = pythonQuote(p)
	}
	return "store paths: [" + strings.Join(quoted, ", ") + "]"
}

// pythonQuote returns Python's repr of a string.
func pythonQuote(s string) string {
	quote := '\''
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	var b strings.Builder
	b.WriteRune(quote)
	for _, r := range s {
		switch {
		case r == quote || r == '\\':
			b.WriteRune('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r <= 0xff:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteRune(quote)
	return b.String()
}

// StorePaths returns the store paths of each layer, the lowest first, as the image's history tells
// them in the form of StorePathsComment: nil for a layer of which it tells nothing.
func (img *Stored) StorePaths() [][]string {
	var layers [][]string
	for _, item := range img.history() {
		entry, _ := item.(*ordjson.Object)
		if emptyLayer(entry) {
			continue
		}
		comment, _ := entry.String("comment")
		paths, _ := parseStorePaths(comment)
		layers = append(layers, paths)
	}
	return layers
}

// parseStorePaths returns the paths of a comment that StorePathsComment or nixpkgs made, and false
// for any other text.
func parseStorePaths(comment string) ([]string, bool) {
	rest, ok := strings.CutPrefix(comment, "store paths: [")
	rest, closed := strings.CutSuffix(rest, "]")
	if !ok || !closed {
		return nil, false
	}
	var paths []string
	for rest != "" {
		if len(paths) > 0 {
			if rest, ok = strings.CutPrefix(rest, ", "); !ok {
				return nil, false
			}
		}
		var path string
		if path, rest, ok = pythonUnquote(rest); !ok {
			return nil, false
		}
		paths = append(paths, path)
	}
	return paths, true
}

// pythonUnquote reads Python's repr of a string at the beginning of a text, and returns what
// follows.
func pythonUnquote(s string) (unquoted, rest string, ok bool) {
	if s == "" || s[0] != '\'' && s[0] != '"' {
		return "", "", false
	}
	quote := s[0]
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case quote:
			return b.String(), s[i+1:], true
		case '\\':
			r, length := pythonEscape(s[i:])
			if length == 0 {
				return "", "", false
			}
			b.WriteRune(r)
			i += length - 1
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}

// pythonEscape returns what the escape sequence at the beginning of a text stands for, and its
// length; 0 for none.
func pythonEscape(s string) (r rune, length int) {
	if len(s) < 2 {
		return 0, 0
	}
	if i := strings.IndexByte(`\'"nrt`, s[1]); i >= 0 {
		return rune("\\'\"\n\r\t"[i]), 2
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[1]]
	if digits == 0 || len(s) < 2+digits {
		return 0, 0
	}
	n, err := strconv.ParseUint(s[2:2+digits], 16, 32)
	if err != nil || n > unicode.MaxRune {
		return 0, 0
	}
	return rune(n), 2 + digits
}
