package sandbox

import (
	"errors"
	"testing"

	"github.com/varve-image/varve/tree"
)

// TestTaken: no file of the machine covers what the sandbox has of its own.
func TestTaken(t *testing.T) {
	for _, c := range []struct {
		root   Root
		target string
		taken  bool
	}{
		{ImageRoot, "/", true}, {ImageRoot, "/proc", true}, {ImageRoot, "/proc/version", true}, {ImageRoot, "/dev/null", true},
		{ImageRoot, "/sys", true}, {ImageRoot, "/tmp", false}, {ImageRoot, "/build", false}, {ImageRoot, "/etc", false},
		{ImageRoot, "/devel", false}, {ImageRoot, "/usr/dev", false},
		{HostTools, "/proc", true}, {HostTools, "/tmp", true}, {HostTools, "/tmp/tools", false}, {HostTools, TreeDir, true},
		{HostTools, TreeDir + "/in", true}, {HostTools, "/etc", true}, {HostTools, "/etc/passwd", true}, {HostTools, "/etc/ssl", false},
	} {
		step := &Step{Name: "x", Tree: []*tree.Entry{{Path: ".", Type: tree.Dir}}, Root: c.root, Argv: []string{"sh"},
			Binds: []Bind{{Source: "/mnt", Target: c.target}}}
		var request *RequestError
		if err := step.Check(); errors.As(err, &request) != c.taken {
			t.Errorf("bind at %q, root %d: %v", c.target, c.root, err)
		}
		step.Binds, step.Tools = nil, []string{c.target}
		if err := step.Check(); c.root == HostTools && errors.As(err, &request) != c.taken {
			t.Errorf("programs in %q: %v", c.target, err)
		}
	}
}
