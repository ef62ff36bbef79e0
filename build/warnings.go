package build

import "fmt"

// warnf adds a warning.
func (b *builder) warnf(format string, args ...any) {
	b.result.Warnings = append(b.result.Warnings, fmt.Sprintf(format, args...))
}
