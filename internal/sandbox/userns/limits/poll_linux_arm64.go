package limits

import "golang.org/x/sys/unix"

// filesArgument returns which argument of a call, from 1 on, says how many files it waits
// for, or 0.
func filesArgument(number int) int {
	switch number {
	case unix.SYS_PPOLL:
		return 2
	case unix.SYS_PSELECT6:
		return 1
	}
	return 0
}
