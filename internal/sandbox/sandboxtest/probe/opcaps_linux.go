package main

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// capabilitySets returns the capabilities of the calling thread.
func capabilitySets() (sets []unix.CapUserData, e unix.Errno) {
	header, sets := []unix.CapUserHeader{{Version: unix.LINUX_CAPABILITY_VERSION_3}}, make([]unix.CapUserData, 2)
	_, _, e = unix.RawSyscall(unix.SYS_CAPGET, address(header), address(sets), 0)
	return sets, e
}

// showCapabilities shows the effective, permitted and inheritable sets, except for the
// capability of raw networks, which sandboxes lack.
func showCapabilities() string {
	sets, e := capabilitySets()
	if e != 0 {
		return outcome(e)
	}
	show := func(low, high uint32) string {
		return strconv.FormatUint((uint64(high)<<32|uint64(low))&^(1<<unix.CAP_NET_RAW), 16)
	}
	a, b := sets[0], sets[1]
	return fmt.Sprintf("%s %s %s", show(a.Effective, b.Effective), show(a.Permitted, b.Permitted), show(a.Inheritable, b.Inheritable))
}

// setCapabilities drops the capabilities with the numbers that follow "effective" or
// "permitted", or sets the effective ones to the permitted ones: "all".
func setCapabilities(o op) string {
	sets, e := capabilitySets()
	if e != 0 {
		return outcome(e)
	}
	for i := range sets {
		if o.word(1) == "all" {
			sets[i].Effective = sets[i].Permitted
		}
	}
	for n := 2; n < len(o.words); n++ {
		c := integer(o.word(n))
		sets[c/32].Effective &^= 1 << (c % 32)
		if o.word(1) == "permitted" {
			sets[c/32].Permitted &^= 1 << (c % 32)
		}
	}
	header := []unix.CapUserHeader{{Version: unix.LINUX_CAPABILITY_VERSION_3}}
	_, _, e = unix.RawSyscall(unix.SYS_CAPSET, address(header), address(sets), 0)
	return outcome(e)
}
