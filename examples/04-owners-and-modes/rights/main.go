// Command rights prints what it may do: its ids, its effective capabilities, and
// the modes and owners of the files given as arguments.
package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

func main() {
	fmt.Printf("uid %d, effective uid %d, capabilities %s\n", os.Getuid(), os.Geteuid(), capabilities())
	for _, name := range os.Args[1:] {
		var st syscall.Stat_t
		if err := syscall.Stat(name, &st); err != nil {
			fmt.Fprintf(os.Stderr, "stat %s: %v\n", name, err)
			os.Exit(1)
		}
		fmt.Printf("%04o %d:%d %s\n", st.Mode&0o7777, st.Uid, st.Gid, name)
	}
}

// capabilities returns the effective set as Linux shows it (proc(5)).
func capabilities() string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(status)) {
		if set, ok := strings.CutPrefix(line, "CapEff:"); ok {
			return strings.TrimSpace(set)
		}
	}
	return "unknown"
}
