package cli

import (
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/cmdline"
)

func TestPassword(t *testing.T) {
	tests := []struct {
		name, input, want, err string
	}{
		{"a line", "secret\n", "secret", ""},
		{"a line of Windows", "secret\r\nmore", "secret", ""},
		{"no end of line", "secret", "secret", ""},
		{"spaces", " secret \n", " secret ", ""},
		{"an empty line", "\nsecret\n", "", "holds no password"},
		{"nothing", "", "", "holds no password"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var l login
			err := l.readPassword(&cmdline.Stdin{In: strings.NewReader(tt.input)})
			if l.password != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %q, %v", l.password, err)
			}
		})
	}
	taken := &cmdline.Stdin{In: strings.NewReader("other")}
	if _, err := taken.Take("a spec"); err != nil {
		t.Fatal(err)
	}
	l := login{password: "known"}
	if err := l.readPassword(taken); err != nil || l.password != "known" {
		t.Errorf("read twice: got %q, %v", l.password, err)
	}
}

// TestLogin: a password goes to the registry of the first reference, and to no other.
func TestLogin(t *testing.T) {
	tests := []struct {
		name string
		refs []string
		ok   bool // the last of them
	}{
		{"one registry", []string{"registry.example/a:1", "registry.example/b"}, true},
		{"two registries", []string{"registry.example/a:1", "other.example/a:1"}, false},
		{"two ports", []string{"registry.example:1/a", "registry.example:2/a"}, false},
		{"Docker's own, in two ways", []string{"debian", "docker.io/library/debian:12"}, true},
		{"what is not a reference", []string{"registry.example/a", "A B"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var l login
			var err error
			for _, ref := range tt.refs {
				err = l.check(ref)
			}
			if (err == nil) != tt.ok {
				t.Errorf("got the error %v", err)
			}
		})
	}
}
