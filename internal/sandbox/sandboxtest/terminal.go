package sandboxtest

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/sandbox"
)

// testTerminal: an interactive step has a terminal, of the given size.
func testTerminal(t *testing.T, s *suite) {
	step := Script(Busybox(t), "busybox stty size; test -t 0; test -t 1; test -t 2; echo >/dev/tty on tty; read line; echo got $line >&2")
	var out bytes.Buffer
	in, keys := io.Pipe()
	defer keys.Close()
	go func() { _, _ = io.WriteString(keys, "a line\n") }() // without an end, as from a terminal
	step.Stdin, step.Stdout = in, &out
	step.Terminal = &sandbox.Terminal{Size: sandbox.TerminalSize{Rows: 30, Columns: 90}}
	s.run(t.Context(), t, step).must(t)
	for _, want := range []string{"30 90\r\n", "on tty\r\n", "got a line\r\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output %q has no %q", out.String(), want)
		}
	}
}
