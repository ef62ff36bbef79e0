package sandbox

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestTail: the last lines are kept, however they are cut into writes.
func TestTail(t *testing.T) {
	var text strings.Builder
	var want []string
	for i := range 200 {
		fmt.Fprintf(&text, "line %d\n", i)
		want = append(want, fmt.Sprintf("line %d", i))
	}
	text.WriteString("\nno newline")
	want = append(want, "", "no newline")
	want = want[len(want)-MaxLastLines:]
	for _, size := range []int{1, 7, 64, 100000} {
		var tail Tail
		for rest := text.String(); rest != ""; {
			n := min(size, len(rest))
			if got, err := tail.Write([]byte(rest[:n])); got != n || err != nil {
				t.Fatalf("Write = %d, %v", got, err)
			}
			rest = rest[n:]
		}
		if got := tail.Lines(); !slices.Equal(got, want) {
			t.Errorf("in pieces of %d: %q, want %q", size, got, want)
		}
	}
}

// TestTailIsLimited: a line without an end does not fill the memory.
func TestTailIsLimited(t *testing.T) {
	var tail Tail
	for range 1000 {
		tail.Write([]byte(strings.Repeat("x", 1000)))
	}
	if got := tail.Lines(); len(got) != MaxLastLines || len(got[0]) != maxLine {
		t.Errorf("%d lines, the first of %d bytes; want %d of %d", len(got), len(got[0]), MaxLastLines, maxLine)
	}
	tail.Write([]byte(strings.Repeat("\n", 1<<20)))
	if room := cap(tail.lines); room > 4*MaxLastLines {
		t.Errorf("it keeps room for %d lines", room)
	}
}

// TestLines: of a line that is rewritten again and again the last version is shown, however
// it is cut into writes.
func TestLines(t *testing.T) {
	const text = "5%\r50%\rdone\r\n\none\rtwo\nopen\r"
	want := []string{"done", "", "two", "open"}
	for size := 1; size <= len(text); size++ {
		var got []string
		lines := Lines{Show: func(line string) { got = append(got, line) }}
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			lines.Write([]byte(rest[:n]))
			rest = rest[n:]
		}
		lines.Close()
		if !slices.Equal(got, want) {
			t.Errorf("in pieces of %d: %q, want %q", size, got, want)
		}
	}
}
