package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// capabilityNames are Linux's capabilities by number (linux/capability.h).
var capabilityNames = [...]string{
	"chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid",
	"setpcap", "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner",
	"sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice",
	"sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap",
	"mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf",
	"checkpoint_restore",
}

// The value of security.capability (struct vfs_cap_data and vfs_ns_cap_data in
// linux/capability.h): a little-endian word of revision and flags, then words
// of permitted and inheritable capabilities, and in revision 3 a user id.
const (
	capRevisionMask = 0xff000000
	capRevision1    = 0x01000000
	capRevision2    = 0x02000000
	capRevision3    = 0x03000000
	capEffective    = 0x000001
)

type capabilitySets struct{ effective, inheritable, permitted uint64 }

// EncodeCapabilities turns the text form of file capabilities (cap_from_text(3)) into the value
// of the attribute security.capability, revision 2. The text is clauses separated by white
// space; a clause is a list of names ("cap_net_raw", "all", nothing for all before "="), then
// one or more of "=" (only first), "+", "-", each followed by flags from e, i, p. Names are
// those of Linux 5.9 and later (CAP_CHECKPOINT_RESTORE is the last), whatever kernel runs.
func EncodeCapabilities(text string) (string, error) {
	clauses := strings.Fields(text)
	if len(clauses) == 0 {
		return "", errors.New(`capabilities are empty: write for example "cap_net_bind_service=ep"`)
	}
	var sets capabilitySets
	for _, clause := range clauses {
		if err := sets.apply(clause); err != nil {
			return "", fmt.Errorf("capabilities %q: %w", text, err)
		}
	}
	flags := uint32(capRevision2)
	if sets.effective != 0 {
		// A file has one effective flag for all of its capabilities.
		if sets.effective != sets.permitted|sets.inheritable {
			return "", fmt.Errorf("capabilities %q: a file's effective flag counts for all of its capabilities or for none: give e to all that have p or i", text)
		}
		flags |= capEffective
	}
	var b []byte
	for _, word := range []uint32{flags,
		uint32(sets.permitted), uint32(sets.inheritable),
		uint32(sets.permitted >> 32), uint32(sets.inheritable >> 32)} {
		b = binary.LittleEndian.AppendUint32(b, word)
	}
	return string(b), nil
}

func (s *capabilitySets) apply(clause string) error {
	at := strings.IndexAny(clause, "=+-")
	if at < 0 {
		return fmt.Errorf("clause %q has no operator: append \"=ep\" for example", clause)
	}
	set, err := capabilityList(clause[:at], clause[at] == '=')
	if err != nil {
		return err
	}
	for rest := clause[at:]; rest != ""; {
		op := rest[0]
		end := strings.IndexAny(rest[1:], "=+-") + 1
		if end == 0 {
			end = len(rest)
		}
		flags := rest[1:end]
		if bad := strings.Trim(flags, "eip"); bad != "" {
			return fmt.Errorf("clause %q: flags are e, i and p, not %q", clause, bad)
		}
		if op == '=' && len(rest) < len(clause)-at {
			return fmt.Errorf("clause %q: \"=\" can only be its first operator", clause)
		}
		if flags == "" && op != '=' {
			return fmt.Errorf("clause %q: no flags after %q", clause, string(op))
		}
		s.change(op, set, flags)
		rest = rest[end:]
	}
	return nil
}

func (s *capabilitySets) change(op byte, set uint64, flags string) {
	if op == '=' {
		s.effective &^= set
		s.inheritable &^= set
		s.permitted &^= set
	}
	for _, f := range flags {
		which := map[rune]*uint64{'e': &s.effective, 'i': &s.inheritable, 'p': &s.permitted}[f]
		if op == '-' {
			*which &^= set
		} else {
			*which |= set
		}
	}
}

func capabilityList(list string, emptyIsAll bool) (uint64, error) {
	const all = 1<<len(capabilityNames) - 1
	if list == "" {
		if emptyIsAll {
			return all, nil
		}
		return 0, errors.New("names are missing before \"+\" or \"-\"")
	}
	var set uint64
	for name := range strings.SplitSeq(strings.ToLower(list), ",") {
		if name == "all" {
			set |= all
			continue
		}
		number, err := capabilityNumber(name)
		if err != nil {
			return 0, err
		}
		set |= 1 << number
	}
	return set, nil
}

func capabilityNumber(name string) (int, error) {
	short := strings.TrimPrefix(name, "cap_")
	best, distance := "", len(short)/2+1
	for i, known := range capabilityNames {
		if name == "cap_"+known {
			return i, nil
		}
		if d := editDistance(short, known); d < distance {
			best, distance = known, d
		}
	}
	if best == "" {
		return 0, fmt.Errorf("unknown capability %q", name)
	}
	return 0, fmt.Errorf("unknown capability %q: did you mean %q?", name, "cap_"+best)
}

// editDistance returns the Levenshtein distance. Long names are far from everything.
func editDistance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// checkCapability returns what is wrong with a value of security.capability.
func checkCapability(value string) error {
	words := map[uint32]int{capRevision1: 3, capRevision2: 5, capRevision3: 6}
	if len(value) < 4 {
		return fmt.Errorf("%d bytes of %s are too few", len(value), CapabilityXattr)
	}
	magic := binary.LittleEndian.Uint32([]byte(value))
	n := words[magic&capRevisionMask]
	if n == 0 || magic&^(capRevisionMask|capEffective) != 0 {
		return fmt.Errorf("%s starts with %#08x, which is not a known revision", CapabilityXattr, magic)
	}
	if len(value) != 4*n {
		return fmt.Errorf("%s has %d bytes, its revision has %d", CapabilityXattr, len(value), 4*n)
	}
	return nil
}
