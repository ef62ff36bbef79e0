package tree

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
)

// TestOverlayDisagreements: where a tar says something twice, what is accepted
// here is what GNU tar and bsdtar unpack, if they accept it.
func TestOverlayDisagreements(t *testing.T) {
	tools := map[string][]string{"tar": {"-x"}, "bsdtar": {"-x"}}
	for tool := range tools {
		testtools.Need(t, tool)
	}
	testtools.NeedRoot(t)
	file := func(name, text string) []byte { return rawHeader('0', name, len(text), "", text) }
	block := strings.Repeat("x", tarBlock)
	hidden := string(file("hidden", ""))
	long := func(name string) []byte { return rawHeader('L', "././@LongLink", len(name)+1, "", name+"\x00") }
	for _, c := range []struct {
		name  string
		parts [][]byte
		// refused says that no reading is safe.
		refused bool
	}{
		{"PAX size is larger", [][]byte{rawPAX('x', "size=1024"), rawHeader('0', "f", 512, "", block+hidden)}, false},
		{"PAX size is smaller", [][]byte{rawPAX('x', "size=512"), rawHeader('0', "f", 1024, "", block+hidden)}, false},
		{"PAX size, none in ustar", [][]byte{rawPAX('x', "size=3"), rawHeader('0', "f", 0, "", "abc")}, false},
		{"PAX size is empty", [][]byte{rawPAX('x', "size="), file("f", "abc")}, true},
		{"PAX path is empty", [][]byte{rawPAX('x', "path="), file("f", "abc")}, true},
		{"PAX size is negative", [][]byte{rawPAX('x', "size=-1"), file("f", "abc")}, true},
		{"PAX size is no number", [][]byte{rawPAX('x', "size=3x"), file("f", "abc")}, true},
		{"PAX path", [][]byte{rawPAX('x', "path=p"), file("f", "abc")}, false},
		{"PAX path twice", [][]byte{rawPAX('x', "path=p", "path=q"), file("f", "abc")}, false},
		{"PAX headers twice", [][]byte{rawPAX('x', "path=p"), rawPAX('x', "mtime=2"), file("f", "abc")}, false},
		{"PAX headers twice, with a size", [][]byte{rawPAX('x', "size=512"), rawPAX('x', "mtime=2"), rawHeader('0', "f", 0, "", hidden)}, false},
		{"PAX size twice", [][]byte{rawPAX('x', "size=512", "size=0"), rawHeader('0', "f", 0, "", hidden)}, false},
		{"PAX path and long name", [][]byte{long("l"), rawPAX('x', "path=p"), file("f", "abc")}, true},
		{"long name and PAX path", [][]byte{rawPAX('x', "path=p"), long("l"), file("f", "abc")}, true},
		{"long name twice", [][]byte{long("k"), long("l"), file("f", "abc")}, false},
		{"PAX linkpath", [][]byte{rawPAX('x', "linkpath=p"), rawHeader('2', "f", 0, "target", "")}, false},
		{"PAX path with dots", [][]byte{rawPAX('x', "path=../p"), file("f", "abc")}, true},
		{"global path", [][]byte{rawPAX('g', "path=p"), file("f", "abc")}, true},
		{"global size", [][]byte{rawPAX('g', "size=512"), file("f", "abc")}, true},
		{"global comment", [][]byte{rawPAX('g', "comment=p"), file("f", "abc")}, false},
		{"directory with size", [][]byte{rawHeader('5', "d", 512, "", hidden)}, true},
		{"directory with PAX size", [][]byte{rawPAX('x', "size=512"), rawHeader('5', "d", 0, "", hidden)}, true},
		{"symlink with size", [][]byte{rawHeader('2', "s", 512, "x", hidden)}, true},
		{"hard link with size", [][]byte{file("f", "abc"), rawHeader('1', "h", 512, "f", hidden)}, true},
		{"hard link with PAX size", [][]byte{file("f", "abc"), rawPAX('x', "size=512"), rawHeader('1', "h", 0, "f", hidden)}, true},
		{"FIFO with size", [][]byte{rawHeader('6', "p", 512, "", hidden)}, true},
		{"unknown type", [][]byte{rawHeader('Z', "z", 3, "", "abc")}, true},
		{"file with a slash", [][]byte{file("f/", "abc")}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := append(bytes.Join(c.parts, nil), file("last", "l")...)
			data = append(data, make([]byte, 2*tarBlock)...)
			o, err := OpenOverlay(t.Context(), memLayers(data), OverlayOptions{})
			if c.refused != (err != nil) {
				t.Errorf("error %v", err)
			}
			for tool, args := range tools {
				root := t.TempDir()
				cmd := exec.Command(tool, append(args, "-C", root, "-f", "-")...)
				cmd.Stdin, cmd.Env = bytes.NewReader(data), append(os.Environ(), "LC_ALL=C.UTF-8")
				out, toolErr := cmd.CombinedOutput()
				t.Logf("%s: %v %s\n%s", tool, toolErr, out, names(t, unpacked(t, root)))
				if err != nil || toolErr != nil {
					continue
				}
				if got, want := names(t, o.Entries), names(t, unpacked(t, root)); got != want {
					t.Errorf("got:\n%s%s:\n%s", got, tool, want)
				}
			}
		})
	}
}
