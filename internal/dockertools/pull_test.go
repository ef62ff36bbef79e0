package dockertools

import (
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// TestSRI: a hash is read as it is written, in all of Nix's forms.
func TestSRI(t *testing.T) {
	empty := digest.FromBytes(nil)
	const sri = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	if got := SRI(empty); got != sri {
		t.Errorf("got %s, want %s", got, sri)
	}
	if got, want := Base32(empty), "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, err := ParseSRI(sri); err != nil || got != empty {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := ParseSRI(""); err != nil || got != "" {
		t.Errorf("got %s, %v", got, err)
	}
	for _, text := range []string{sri[7:], "sha512" + sri[6:], sri[:20], "sha256-?"} {
		var wrong *InputError
		if _, err := ParseSRI(text); !errors.As(err, &wrong) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestPullArgs: names are the reference's, unless others are given.
func TestPullArgs(t *testing.T) {
	for _, tt := range []struct{ ref, name, tag, want string }{
		{"debian:12", "", "", "debian debian:12"},
		{"debian", "", "", "debian debian:latest"},
		{"host:5000/a/b:1@sha256:" + strings.Repeat("a", 64), "", "", "host:5000/a/b host:5000/a/b:1"},
		{"debian:12", "mine", "2", "debian mine:2"},
	} {
		p, err := NewPullArgs(tt.ref, tt.name, tt.tag)
		if err != nil || p.ImageName+" "+p.finalName() != tt.want {
			t.Errorf("%s: %+v, %v, want %s", tt.ref, p, err, tt.want)
		}
	}
	var wrong *InputError
	if _, err := NewPullArgs("debian", "UPPER", ""); !errors.As(err, &wrong) {
		t.Error(err)
	}
}
