package problems

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestList(t *testing.T) {
	var l List
	if l.Err() != nil {
		t.Error("an empty list is an error")
	}
	l.Addf("first %q: %w", "x", io.EOF)
	for range Max + 4 {
		l.Add(errors.New("next"))
		l.Add(nil)
	}
	err := l.Err()
	if !errors.Is(err, io.EOF) || !strings.HasPrefix(err.Error(), "first \"x\": EOF\nnext\n") || !strings.HasSuffix(err.Error(), "\nand 5 more") {
		t.Errorf("error is %v", err)
	}
	if l.Len() != Max+5 {
		t.Errorf("%d problems", l.Len())
	}
}

// TestAnnotate: each error's words come after its own text, wherever that is, and
// the error stays in the tree.
func TestAnnotate(t *testing.T) {
	known, other := errors.New("known"), errors.New("other")
	words := func(err error) string {
		if err == known {
			return ": do this"
		}
		return ""
	}
	nested := fmt.Errorf("a: %w; b: %w", errors.Join(other, known), fmt.Errorf("c: %w", known))
	got := Annotate(nested, words)
	if want := "a: other\nknown: do this; b: c: known: do this"; got.Error() != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(got, known) || !errors.Is(got, other) {
		t.Error("the tree is lost")
	}
	if got := Annotate(other, words); got != other {
		t.Errorf("an error without words became %#v", got)
	}
}
