// Package problems gathers what is wrong with an input, so that a person sees
// everything at once, and no more than a person reads.
package problems

import (
	"errors"
	"fmt"
)

// Max is how many problems one error spells out.
const Max = 20

// List is a list of problems. The zero value is empty.
type List struct {
	listed []error
	more   int
}

// Add adds a problem.
func (l *List) Add(err error) {
	if len(l.listed) == Max {
		l.more++
		return
	}
	l.listed = append(l.listed, err)
}

// Addf adds a problem as fmt.Errorf makes it.
func (l *List) Addf(format string, args ...any) { l.Add(fmt.Errorf(format, args...)) }

// Len is how many problems were added.
func (l *List) Len() int { return len(l.listed) + l.more }

// Err returns all problems as one error with a line each, or nil if there are
// none. What they wrap can be found in it.
func (l *List) Err() error {
	if l.more == 0 {
		return errors.Join(l.listed...)
	}
	return fmt.Errorf("%w\nand %d more", errors.Join(l.listed...), l.more)
}
