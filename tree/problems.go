package tree

import (
	"errors"
	"fmt"
)

// maxProblems is how many bad inputs one error lists.
const maxProblems = 20

// problems gathers what is wrong with an input, so that a person sees
// everything at once.
type problems struct {
	listed []error
	more   int
}

func (p *problems) add(err error) {
	if len(p.listed) == maxProblems {
		p.more++
		return
	}
	p.listed = append(p.listed, err)
}

func (p *problems) addf(format string, args ...any) { p.add(fmt.Errorf(format, args...)) }

func (p *problems) count() int { return len(p.listed) + p.more }

// err is nil if nothing was added.
func (p *problems) err() error {
	if p.more == 0 {
		return errors.Join(p.listed...)
	}
	return fmt.Errorf("%w\nand %d more", errors.Join(p.listed...), p.more)
}
