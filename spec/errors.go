package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxErrors is how many errors of one input are reported.
const MaxErrors = 100

// Error is one thing that is wrong with a spec.
type Error struct {
	// File is the input's name, as Options has it; empty for a setting.
	File string
	// Line and Column count from 1; 0 where the error has no place.
	Line, Column int
	// Flag is the setting's name, empty for what is in a file.
	Flag string
	// Field is the path of the field, such as layers[0].contents; empty where
	// the error is not about a field.
	Field string
	// Message says what was got and what is wanted. It holds no line ends.
	Message string
}

// Error returns "file:line:column: field: message" or "--flag: message".
func (e *Error) Error() string {
	var b strings.Builder
	switch {
	case e.Flag != "":
		return e.Flag + ": " + e.Message
	case e.File != "" && e.Line > 0:
		fmt.Fprintf(&b, "%s:%d:%d: ", e.File, e.Line, e.Column)
	case e.File != "":
		b.WriteString(e.File + ": ")
	}
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	return b.String() + e.Message
}

// Errors is all that is wrong with a spec: what is in the file in the order of
// its lines, then what is in settings. It has at least one element.
type Errors []*Error

// Error returns one line for each error.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the errors, for errors.As.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, err := range e {
		errs[i] = err
	}
	return errs
}

// problems collects errors.
type problems struct {
	file    string
	list    Errors
	dropped int
}

// add reports an error in field at n's place.
func (p *problems) add(n *node, field, format string, args ...any) {
	if len(p.list) == MaxErrors {
		p.dropped++
		return
	}
	e := &Error{Field: field, Message: fmt.Sprintf(format, args...)}
	if n.flag != "" {
		e.Flag = n.flag
	} else {
		e.File, e.Line, e.Column = p.file, n.line, n.column
	}
	p.list = append(p.list, e)
}

// err returns what was collected, in order, or nil.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b *Error) int {
		return cmp.Or(
			cmp.Compare(min(len(a.Flag), 1), min(len(b.Flag), 1)),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
		)
	})
	if p.dropped > 0 {
		p.list = append(p.list, &Error{File: p.file, Message: fmt.Sprintf("and %d more errors", p.dropped)})
	}
	return p.list
}

// maxQuoted is how many bytes of a foreign string a message repeats.
const maxQuoted = 80

// quote returns s for a message: quoted, and cut if it is long.
func quote(s string) string {
	if len(s) <= maxQuoted {
		return fmt.Sprintf("%q", s)
	}
	end := maxQuoted
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return fmt.Sprintf("%q…", s[:end])
}

// nearest returns the one of names that got most likely means, or "".
func nearest(got string, names []string) string {
	if len(got) > maxQuoted {
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

// didYouMean returns "; did you mean …?" or, when nothing is near, "".
func didYouMean(got string, names []string) string {
	if name := nearest(got, names); name != "" {
		return fmt.Sprintf("; did you mean %q?", name)
	}
	return ""
}

// distance returns how many bytes must be inserted, deleted, replaced or
// swapped with their neighbour to make b of a (optimal string alignment).
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
