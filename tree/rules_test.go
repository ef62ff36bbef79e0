package tree

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/testtools"
)

func number(n uint32) *uint32 { return &n }

func TestApplyRules(t *testing.T) {
	for _, c := range []struct {
		name  string
		rules []Rule
		want  string
		errs  []string
	}{
		{name: "later rules win", rules: []Rule{{Path: "**", UID: number(5)}, {Path: "/bin/*", UID: number(6), Mode: number(0o4755)}, {Path: "bin/sh", GID: number(7)}}, want: `
. 5 0755 5:0
bin 5 0755 5:0
bin/bash 0 4755 6:0 ""
bin/sh 2 0777 6:7 -> bash
tmp 5 0755 5:0
`},
		{name: "root alone", rules: []Rule{{Path: "/", Mode: number(0o555)}}, want: `
. 5 0555 0:0
bin 5 0755 0:0 implied
bin/bash 0 0644 0:0 ""
bin/sh 2 0777 0:0 -> bash
tmp 5 0755 0:0
`},
		{name: "one component, without the root", rules: []Rule{{Path: "*", Mode: number(0o1777)}}, want: `
. 5 0755 0:0 implied
bin 5 1777 0:0
bin/bash 0 0644 0:0 ""
bin/sh 2 0777 0:0 -> bash
tmp 5 1777 0:0
`},
		{name: "a tree with its top", rules: []Rule{{Path: "/bin/**", GID: number(3)}}, want: `
. 5 0755 0:0 implied
bin 5 0755 0:3
bin/bash 0 0644 0:3 ""
bin/sh 2 0777 0:3 -> bash
tmp 5 0755 0:0
`},
		{name: "all errors", rules: []Rule{
			{Path: "etc/none", UID: number(1)}, {Path: "[", UID: number(1)}, {Path: "tmp"}, {Path: "tmp", Mode: number(0o17777)},
			{Path: "tmp", UID: number(MaxID + 1)}, {Path: "bin/sh", Mode: number(0o700)}, {Path: "tmp", Capabilities: "cap_chown=ep"},
			{Path: "bin/bash", Capabilities: "cap_net_bind_servce=ep"}, {Path: "", UID: number(1)}, {Path: "../tmp", UID: number(1)}},
			errs: []string{`rule 0: no entry matches "etc/none"`, `rule 1: glob "[" is malformed`, `rule 2: "tmp" sets nothing`,
				`rule 3: "tmp": mode 017777 is not`, `rule 4: "tmp": id 4294967295`, `rule 5: "bin/sh" matches only symlinks`,
				`rule 6: "tmp" matches "tmp", a directory: only regular files`, `unknown capability "cap_net_bind_servce": did you mean "cap_net_bind_service"?`,
				`rule 8: glob is empty`, `rule 9: no entry matches "../tmp"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			entries, err := complete([]*Entry{testFile("bin/bash", ""), testLink("bin/sh", "bash"), testDir("tmp")})
			wantError(t, err)
			if !wantError(t, applyRules(entries, c.rules), c.errs...) {
				wantDump(t, entries, c.want)
			}
		})
	}
}

// applyRules applies rules in their order, and returns which of them are wrong.
func applyRules(entries []*Entry, rules []Rule) error {
	var errs []error
	for i, r := range rules {
		if err := r.Apply(entries); err != nil {
			errs = append(errs, fmt.Errorf("rule %d: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

func TestApplyRulesCapabilities(t *testing.T) {
	shared := map[string]string{"user.a": "1"}
	e := testFile("f", "x")
	e.Xattrs = shared
	wantError(t, applyRules([]*Entry{e}, []Rule{{Path: "*", Capabilities: "cap_net_bind_service=ep"}, {Path: "f", UID: number(9)}}))
	if got := hex.EncodeToString([]byte(e.Xattrs[CapabilityXattr])); got != "0100000200040000000000000000000000000000" {
		t.Errorf("security.capability is %s", got)
	}
	if len(shared) != 1 || e.Xattrs["user.a"] != "1" {
		t.Errorf("xattrs %q, shared %q", e.Xattrs, shared)
	}
}

var capabilityTexts = []string{
	"cap_net_bind_service=ep", "cap_net_raw,cap_net_admin+eip", "CAP_NET_RAW=p", "cap_net_raw+p cap_chown=i", "cap_net_raw=eip-p",
	"all=ep", "=ep", "=p", "=", "cap_bpf,cap_perfmon,cap_checkpoint_restore=ep", "all=eip cap_sys_admin-eip",
	"cap_chown=p\tcap_chown-p", "cap_chown,cap_chown=ep", "cap_chown=e+p", "cap_kill=eip cap_chown+epi",
}

// TestEncodeCapabilities compares with what setcap writes.
func TestEncodeCapabilities(t *testing.T) {
	testtools.NeedRoot(t)
	setcap := testtools.Need(t, "setcap")
	for _, text := range capabilityTexts {
		got, err := EncodeCapabilities(text)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if err := checkCapability(got); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		name := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(setcap, text, name).CombinedOutput(); err != nil {
			if unix.Lsetxattr(name, CapabilityXattr, []byte(got), 0) != nil {
				testtools.Lack(t, "a file system that takes capabilities")
			}
			t.Errorf("setcap does not take %q: %v: %s", text, err, out)
			continue
		}
		want := make([]byte, 64)
		n, err := unix.Lgetxattr(name, CapabilityXattr, want)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want[:n]) {
			t.Errorf("%q: %x, setcap writes %x", text, got, want[:n])
		}
	}
}

func TestEncodeCapabilitiesErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "capabilities are empty",
		"   ":                       "capabilities are empty",
		"cap_chown":                 "has no operator",
		"cap_chown=x":               "flags are e, i and p",
		"cap_chown+p=i":             `"=" can only be its first operator`,
		"cap_chown+":                `no flags after "+"`,
		"+ep":                       "names are missing",
		"chown=ep":                  `did you mean "cap_chown"`,
		"cap_sys_admn=ep":           `did you mean "cap_sys_admin"`,
		"qqqqqqqqqq=p":              `unknown capability "qqqqqqqqqq"`,
		",=p":                       `unknown capability ""`,
		"cap_chown=e":               "effective flag counts for all",
		"cap_chown=ep cap_kill=p":   "effective flag counts for all",
		"cap_chown=ep\x00cap_kill=": "flags are e, i and p",
	} {
		t.Run(text, func(t *testing.T) {
			_, err := EncodeCapabilities(text)
			wantError(t, err, want)
		})
	}
}

func FuzzEncodeCapabilities(f *testing.F) {
	for _, text := range capabilityTexts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		value, err := EncodeCapabilities(text)
		if err == nil && (checkCapability(value) != nil || len(value) != 20) {
			t.Errorf("%q gives %x", text, value)
		}
	})
}
