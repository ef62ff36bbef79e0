package cmdline

import (
	"errors"
	"strings"
	"testing"
)

func TestStdin(t *testing.T) {
	s := Stdin{In: strings.NewReader("")}
	if in, err := s.Take("a spec"); in != s.In || err != nil {
		t.Fatal(in, err)
	}
	_, err := s.Take("a password")
	if err == nil || !strings.Contains(err.Error(), "is a spec already and cannot be a password too") || !errors.As(err, new(*UsageError)) {
		t.Errorf("got the error %v", err)
	}
}
