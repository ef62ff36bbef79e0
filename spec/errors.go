package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/varve-image/varve/internal/suggest"
)

// MaxErrors limits how many errors of one input are reported.
const MaxErrors = 100

// Error is one thing that is wrong with a spec.
type Error struct {
	// File is the input's name, as Options has it; empty for a setting.
	File string
	// Line and Column count from 1; zero means that the error has no place.
	Line, Column int
	// Flag is the setting's name; empty for an error in a file.
	Flag string
	// Field is the path of the field, such as layers[0].contents; empty where
	// the error is not about a field.
	Field string
	// Message says what was given and what is wanted. It has no line breaks.
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

// Errors lists all that is wrong with a spec: the errors in the file in the order of its lines,
// then those in settings. It has at least one element.
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

// maxQuoted limits how many bytes of a foreign string a message repeats.
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

// others maps names of fields from Dockerfiles, Compose or other builders to the spec's.
var others = map[string]string{
	"from": "fromImage", "base": "fromImage", "image": "fromImage", "baseImage": "fromImage",
	"copy": "copyToRoot", "add": "copyToRoot", "files": "copyToRoot", "packages": "contents",
	"platform": "architecture", "arch": "architecture", "user": "config.User", "run": "runAsRoot",
	"env": "config.Env", "environment": "config.Env", "entrypoint": "config.Entrypoint", "cmd": "config.Cmd", "command": "config.Cmd",
	"expose": "config.ExposedPorts", "ports": "config.ExposedPorts", "exposedPorts": "config.ExposedPorts",
	"volume": "config.Volumes", "volumes": "config.Volumes", "workdir": "config.WorkingDir", "workingDir": "config.WorkingDir", "working_dir": "config.WorkingDir",
	"healthcheck": "config.Healthcheck", "stopSignal": "config.StopSignal", "stop_signal": "config.StopSignal", "stop_grace_period": "config.StopTimeout",
	"src": "source", "to": "target", "dst": "target", "dest": "target", "destination": "target", "ignore": "exclude", "excludes": "exclude",
	"mkdir": "directories", "dirs": "directories", "links": "symlinks", "link": "symlinks", "rm": "remove", "delete": "remove", "text": "content",
	"chmod": "mode", "chown": "owner", "glob": "path", "caps": "capabilities",
}

// didYouMean returns "; did you mean …?" or, when nothing is near, "".
func didYouMean(got string, names []string) string {
	name := suggest.Nearest(got, names)
	for other, field := range others {
		if first, _, _ := strings.Cut(field, "."); strings.EqualFold(other, got) && slices.Contains(names, first) {
			name = field
		}
	}
	if name != "" {
		return fmt.Sprintf("; did you mean %q?", name)
	}
	return ""
}
