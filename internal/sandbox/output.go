package sandbox

// Lines cuts what a step writes into lines, and calls Show with each, without its end. Of a
// line that is rewritten after carriage returns, only the last version is shown; a very
// long line is shown in pieces. It is not safe for concurrent use.
type Lines struct {
	Show func(line string)

	line     []byte
	returned bool // a carriage return followed line
}

// maxLine limits a line, in bytes.
const maxLine = 4096

// Write never fails.
func (l *Lines) Write(p []byte) (int, error) {
	for _, c := range p {
		switch {
		case c == '\n':
			l.show()
			continue
		case c == '\r':
			l.returned = true
			continue
		case l.returned:
			l.line, l.returned = l.line[:0], false
		case len(l.line) == maxLine:
			l.show()
		}
		l.line = append(l.line, c)
	}
	return len(p), nil
}

func (l *Lines) show() {
	l.Show(string(l.line))
	l.line, l.returned = l.line[:0], false
}

// Close shows an unfinished last line. It never fails.
func (l *Lines) Close() error {
	if len(l.line) > 0 {
		l.show()
	}
	return nil
}

// Tail keeps the last lines of what is written to it, for StepError. The zero
// value is ready; it is not safe for concurrent use.
type Tail struct {
	lines []string
	cut   Lines
}

// Write never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.cut.Show = func(line string) { t.lines = last(append(t.lines, line)) }
	return t.cut.Write(p)
}

// Lines returns the last lines.
func (t *Tail) Lines() []string {
	lines := append([]string(nil), t.lines...)
	if len(t.cut.line) > 0 {
		lines = append(lines, string(t.cut.line))
	}
	return last(lines)
}

// last drops all lines but the last MaxLastLines.
func last(lines []string) []string {
	if over := len(lines) - MaxLastLines; over > 0 {
		lines = append(lines[:0], lines[over:]...)
	}
	return lines
}
