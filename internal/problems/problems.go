// Package problems collects what is wrong with an input, so that a person sees
// everything at once, and no more than a person reads.
package problems

import (
	"errors"
	"fmt"
	"strings"
)

// Max is how many problems one error lists.
const Max = 20

// List is a list of problems. The zero value is empty.
type List struct {
	listed []error
	more   int
}

// Add adds a problem. A nil error is none.
func (l *List) Add(err error) {
	if err == nil {
		return
	}
	if len(l.listed) == Max {
		l.more++
		return
	}
	l.listed = append(l.listed, err)
}

// Addf adds a problem, formatted by fmt.Errorf.
func (l *List) Addf(format string, args ...any) { l.Add(fmt.Errorf(format, args...)) }

// Len returns how many problems were added.
func (l *List) Len() int { return len(l.listed) + l.more }

// Err returns all problems as one error with a line each, or nil if there are none.
// Errors that they wrap can be found in it.
func (l *List) Err() error {
	if l.more == 0 {
		return errors.Join(l.listed...)
	}
	return fmt.Errorf("%w\nand %d more", errors.Join(l.listed...), l.more)
}

// Annotate returns err with the texts that words returns for errors in its tree,
// each inserted after that error's own text within err's. A library says what is
// wrong; its caller knows what the user would write to fix it. The tree stays as it
// is.
func Annotate(err error, words func(error) string) error {
	text, known := err.Error(), map[string]bool{}
	each(err, func(e error) {
		own := e.Error()
		if more := words(e); more != "" && !known[own] {
			known[own] = true
			text = strings.ReplaceAll(text, own, own+more)
		}
	})
	if len(known) == 0 {
		return err
	}
	return &annotated{err, text}
}

// annotated is an error with another text.
type annotated struct {
	error
	text string
}

func (a *annotated) Error() string { return a.text }

func (a *annotated) Unwrap() error { return a.error }

// each calls visit with an error and all errors that it wraps.
func each(err error, visit func(error)) {
	if err == nil {
		return
	}
	visit(err)
	switch w := err.(type) { //nolint:errorlint // it is the tree that is walked
	case interface{ Unwrap() error }:
		each(w.Unwrap(), visit)
	case interface{ Unwrap() []error }:
		for _, e := range w.Unwrap() {
			each(e, visit)
		}
	}
}
