package regfile

import "time"

// Changes says whether a file system keeps the times at which its files are changed. Images of file
// systems have the times that their makers chose, and others what another program or machine says:
// often the modification time, which everybody may set, for both.
type Changes int

const (
	// Kept says that the kernel notes each change.
	Kept Changes = iota + 1
	// Passed says that they come from file systems of which some do.
	Passed
	// Lost says that it keeps none.
	Lost
)

// Unknown reports whether a file's change time, in nanoseconds since 1970, may be nothing but its
// modification time.
func (c Changes) Unknown(change, modified int64) bool {
	return change == modified && (c == Lost || c == Passed && change%int64(time.Second) == 0)
}
