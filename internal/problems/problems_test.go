package problems

import (
	"errors"
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
	}
	err := l.Err()
	if !errors.Is(err, io.EOF) || !strings.HasPrefix(err.Error(), "first \"x\": EOF\nnext\n") || !strings.HasSuffix(err.Error(), "\nand 5 more") {
		t.Errorf("error is %v", err)
	}
	if l.Len() != Max+5 {
		t.Errorf("%d problems", l.Len())
	}
}
