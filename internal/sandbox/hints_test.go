package sandbox

import (
	"strings"
	"syscall"
	"testing"
)

// TestHints: messages of shells and coreutils, and the hints for them.
func TestHints(t *testing.T) {
	outside := func(path, instead string) string {
		return `"` + path + `" is the machine's, not the image's: the script works in the image's tree, in the directory that it starts in: write "` + instead + `", relative to that`
	}
	const derivation = "do it in a derivation of its own, and name that in contents or copyToRoot"
	tests := []struct {
		name string
		err  StepError
		want []string
	}{
		{"nothing written", StepError{}, []string{"begin the script with set -x to see which of its commands fails"}},
		{"nothing written, by a signal", StepError{Signal: syscall.SIGKILL}, nil},
		{"something else", StepError{Root: HostTools, LastLines: []string{"error 1"}}, nil},
		{"dash, outside the tree", StepError{Root: HostTools, LastLines: []string{"sh: 1: cannot create /etc/motd: Permission denied"}}, []string{outside("/etc/motd", "etc/motd")}},
		{"mkdir, outside the tree", StepError{Root: HostTools, LastLines: []string{"mkdir: cannot create directory '/data': Read-only file system\r"}}, []string{outside("/data", "data")}},
		{"touch, nowhere", StepError{Root: HostTools, LastLines: []string{"touch: cannot touch '/app/x': No such file or directory"}}, []string{outside("/app/x", "app/x")}},
		{"in the tree", StepError{Root: HostTools, LastLines: []string{"mkdir: cannot create directory '" + TreeDir + "/x': File exists"}}, nil},
		{"the image's own root", StepError{Root: ImageRoot, LastLines: []string{"mkdir: cannot create directory '/data': File exists"}}, nil},
		{"stdenv's function", StepError{Root: HostTools, LastLines: []string{"sh: 1: runHook: not found"}}, []string{"runHook is a function of nixpkgs' stdenv, in which scripts do not run here: " + derivation}},
		{"substitute", StepError{Root: HostTools, LastLines: []string{"line 1: substituteInPlace: command not found"}}, []string{"substituteInPlace is a function of nixpkgs' stdenv, in which scripts do not run here: use sed -i, or " + derivation}},
		{"another command", StepError{Root: HostTools, LastLines: []string{"sh: 1: jq: not found"}}, nil},
		{"one thing twice", StepError{Root: HostTools, LastLines: []string{"sh: 1: runHook: not found", "sh: 2: runHook: not found"}}, []string{"runHook is a function of nixpkgs' stdenv, in which scripts do not run here: " + derivation}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(tt.err.Hints(), "\n"); got != strings.Join(tt.want, "\n") {
				t.Errorf("got  %s\nwant %s", got, strings.Join(tt.want, "\n"))
			}
		})
	}
}
