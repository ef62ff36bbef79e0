package spec

import (
	"fmt"
	"strings"
)

// ExpandEnv replaces $NAME and ${NAME} in an entry of Env, NAME=value, of a spec that has args, by
// what lookup returns for NAME. $$ stands for a $; a $ before anything else stands for itself.
func ExpandEnv(entry string, lookup func(name string) (string, bool)) (string, error) {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(entry, "$")
		out.WriteString(before)
		switch {
		case out.Len() > MaxSize:
			return "", fmt.Errorf("with the values of its variables it is larger than %d MiB", MaxSize>>20)
		case !found:
			return out.String(), nil
		}
		if rest, ok := strings.CutPrefix(after, "$"); ok {
			out.WriteByte('$')
			entry = rest
			continue
		}
		name, rest := variableName(after)
		if inner, braced := strings.CutPrefix(after, "{"); braced {
			var closed bool
			name, rest, closed = strings.Cut(inner, "}")
			if !closed || !isName(name) {
				return "", fmt.Errorf("%s has a ${ that no variable's name and } follow: write $${ for one that is part of the text", quote(entry))
			}
		}
		entry = rest
		if name == "" {
			out.WriteByte('$')
			continue
		}
		val, ok := lookup(name)
		if !ok {
			return "", fmt.Errorf("$%s is neither an argument of the spec nor a variable of the base, or of Env before it: write $$ for a $ that is part of the text", name)
		}
		out.WriteString(val)
	}
}

// variableName returns the name of a variable at the beginning of s, and what follows it.
func variableName(s string) (name, rest string) {
	end := 0
	for end < len(s) && inName(s[end], end == 0) {
		end++
	}
	return s[:end], s[end:]
}

// inName reports whether a byte may be in the name of a variable.
func inName(b byte, first bool) bool {
	return b == '_' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || !first && b >= '0' && b <= '9'
}

// isName reports whether s is the name of a variable.
func isName(s string) bool {
	name, rest := variableName(s)
	return name != "" && rest == ""
}
