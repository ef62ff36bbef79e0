package rootfs

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/varve-image/varve/tree"
)

// show returns an entry as the tables below write it: mode, path, link target or
// content; "implied" directories are marked with a question mark.
func show(t *testing.T, e *tree.Entry) string {
	t.Helper()
	if e.UID != 0 || e.GID != 0 || e.ModTime != 0 || e.Uname+e.Gname != "" || e.Xattrs != nil {
		t.Errorf("%s: not a plain entry of root at time 0: %+v", e.Path, e)
	}
	s := fmt.Sprintf("%04o %s", e.Mode, e.Path)
	switch e.Type {
	case tree.Dir:
		s += "/"
	case tree.Symlink:
		s += " -> " + e.Linkname
	case tree.Regular:
		s += fmt.Sprintf(" %q", content(t, e))
	default:
		t.Errorf("%s: type %c", e.Path, e.Type)
	}
	if e.Implied {
		s += "?"
	}
	return s
}

// content reads an entry twice, as it may be opened any number of times.
func content(t *testing.T, e *tree.Entry) string {
	t.Helper()
	var last string
	for range 2 {
		r, err := e.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if int64(len(data)) != e.Size {
			t.Errorf("%s: Size %d, content of %d bytes", e.Path, e.Size, len(data))
		}
		last = string(data)
	}
	return last
}

func checkTree(t *testing.T, got []*tree.Entry, source string, want ...string) {
	t.Helper()
	var have []string
	for _, e := range got {
		have = append(have, show(t, e))
		if e.Source != source {
			t.Errorf("%s: source %q, want %q", e.Path, e.Source, source)
		}
	}
	if !slices.Equal(have, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(have, "\n  "), strings.Join(want, "\n  "))
	}
}

func checkError(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", want)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q lacks %q", err, w)
		}
	}
}

func TestTmp(t *testing.T) {
	got, err := tmp()
	if err != nil {
		t.Fatal(err)
	}
	checkTree(t, got, "preset tmp", "0755 ./?", "1777 tmp/")
}

func TestPresetOrdersByComponent(t *testing.T) {
	got, err := preset("x", tree.NewDir("a-b", 0o755), tree.NewFile("a/b", 0o644, "1"), tree.NewDir("a/c/d", 0o700))
	if err != nil {
		t.Fatal(err)
	}
	checkTree(t, got, "x", "0755 ./?", "0755 a/?", `0644 a/b "1"`, "0755 a/c/?", "0700 a/c/d/", "0755 a-b/")
	_, err = preset("x", tree.NewDir("a", 0o755), tree.NewDir("a", 0o755))
	checkError(t, err, "x:", `"a" is there twice`)
}

func TestNSS(t *testing.T) {
	got, err := nss(nil, nil, Lower{})
	if err != nil {
		t.Fatal(err)
	}
	checkTree(t, got, "preset nss",
		"0755 ./?",
		"0755 etc/?",
		`0644 etc/group "root:x:0:\nnobody:x:65534:\n"`,
		`0644 etc/nsswitch.conf "hosts: files dns\n"`,
		`0644 etc/passwd "root:x:0:0:root user:/var/empty:/bin/sh\nnobody:x:65534:65534:nobody:/var/empty:/bin/sh\n"`,
		"0755 var/?",
		"0555 var/empty/",
	)
}

func TestNSSExtraLines(t *testing.T) {
	got, err := nss(
		[]string{"nixbld:x:1000:1000:Build user:/build:/noshell", "a:x:4294967294:0:::"},
		[]string{"nixbld:!:1000:"}, Lower{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"etc/passwd": "root:x:0:0:root user:/var/empty:/bin/sh\nnixbld:x:1000:1000:Build user:/build:/noshell\n" +
			"a:x:4294967294:0:::\nnobody:x:65534:65534:nobody:/var/empty:/bin/sh\n",
		"etc/group": "root:x:0:\nnixbld:!:1000:\nnobody:x:65534:\n",
	}
	for _, e := range got {
		if text, ok := want[e.Path]; ok && content(t, e) != text {
			t.Errorf("%s: %q, want %q", e.Path, content(t, e), text)
		}
	}
}

func TestNSSRefuses(t *testing.T) {
	tests := []struct {
		name          string
		passwd, group []string
		want          []string
	}{
		{"newline", []string{"a:x:1:1:::\nroot2:x:0:0:::"}, nil, []string{"extra passwd line 1", `\nroot2`, "newline"}},
		{"nul", []string{"a:x:1:1:\x00::"}, nil, []string{`\x00`, "control character"}},
		{"six fields", []string{"a:x:1:1::"}, nil, []string{"6 fields instead of 7"}},
		{"five in group", nil, []string{"a:x:1::"}, []string{"extra group line 1", "5 fields instead of 4"}},
		{"no name", nil, []string{":x:1:"}, []string{"has no name"}},
		{"second root", []string{"root:x:0:0:::"}, nil, []string{`there is a "root" already`}},
		{"nobody", nil, []string{"nobody:x:1:"}, []string{`there is a "nobody" already`}},
		{"twice", []string{"a:x:1:1:::", "a:x:2:2:::"}, nil, []string{"extra passwd line 2", `there is a "a" already`}},
		{"uid -1", []string{"a:x:-1:1:::"}, nil, []string{`field 3 is "-1"`}},
		{"gid 2^32-1", []string{"a:x:1:4294967295:::"}, nil, []string{`field 4 is "4294967295"`, "4294967294"}},
		{"gid of 2^64", nil, []string{"a:x:18446744073709551616:"}, []string{"field 3"}},
		{"all at once", []string{"a"}, []string{"b", "c"}, []string{"passwd line 1", "group line 1", "group line 2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := nss(tt.passwd, tt.group, Lower{})
			checkError(t, err, append(tt.want, "preset nss: ")...)
			if got != nil {
				t.Errorf("entries beside the error: %v", got)
			}
		})
	}
}

const pamText = `0644 etc/pam.d/other "account sufficient pam_unix.so\nauth sufficient pam_rootok.so\n` +
	`password requisite pam_unix.so nullok sha512\nsession required pam_unix.so\n"`

func TestShadow(t *testing.T) {
	got, err := shadow("", nil)
	if err != nil {
		t.Fatal(err)
	}
	checkTree(t, got, "preset shadow",
		"0755 ./?",
		"0755 etc/?",
		`0644 etc/group "root:x:0:\n"`,
		`0600 etc/gshadow "root:x::\n"`,
		`0644 etc/login.defs ""`,
		"0755 etc/pam.d/?",
		pamText,
		`0644 etc/passwd "root:x:0:0::/root:/bin/sh\n"`,
		`0600 etc/shadow "root:!x:::::::\n"`,
	)
}

func TestShadowYields(t *testing.T) {
	const shell = "/nix/store/00000000000000000000000000000000-bash-5.2/bin/bash"
	group := []string{`0644 etc/group "root:x:0:\n"`, `0600 etc/gshadow "root:x::\n"`}
	passwd := []string{`0644 etc/passwd "root:x:0:0::/root:` + shell + `\n"`, `0600 etc/shadow "root:!x:::::::\n"`}
	defs, pam := []string{`0644 etc/login.defs ""`}, []string{"0755 etc/pam.d/?", pamText}
	top := []string{"0755 ./?", "0755 etc/?"}
	tests := []struct {
		name    string
		present []string
		want    [][]string
	}{
		{"passwd", []string{"etc/passwd"}, [][]string{top, group, defs, pam}},
		{"shadow alone", []string{"etc/shadow"}, [][]string{top, group, defs, pam, passwd[:1]}},
		{"group", []string{"etc/group"}, [][]string{top, defs, pam, passwd}},
		{"pam and defs", []string{"etc/pam.d/other", "etc/login.defs"}, [][]string{top, group, passwd}},
		{"pam.d holds something else", []string{"etc/pam.d/su"}, [][]string{top, group, defs, pam, passwd}},
		{"everything", []string{"etc/passwd", "etc/group", "etc/pam.d/other", "etc/login.defs"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := shadow(shell, func(p string) bool { return slices.Contains(tt.present, p) })
			if err != nil {
				t.Fatal(err)
			}
			checkTree(t, got, "preset shadow", slices.Concat(tt.want...)...)
		})
	}
}

func TestShadowRefuses(t *testing.T) {
	for shell, want := range map[string]string{
		"bash":            "absolute path",
		"/bin/sh:x":       "colon",
		"/bin/sh\n/bin/x": "control character",
	} {
		_, err := shadow(shell, nil)
		checkError(t, err, "preset shadow: shell "+fmt.Sprintf("%q", shell), want)
	}
}

func binShLink(target string) ([]*tree.Entry, error) {
	return programLink{preset: "binSh", path: "bin/sh"}.link(target)
}

func usrBinEnvLink(target string) ([]*tree.Entry, error) {
	return programLink{preset: "usrBinEnv", path: "usr/bin/env"}.link(target)
}

func TestLinks(t *testing.T) {
	const bash = "/nix/store/00000000000000000000000000000000-bash-5.2/bin/bash"
	got, err := binShLink(bash)
	if err != nil {
		t.Fatal(err)
	}
	checkTree(t, got, "preset binSh", "0755 ./?", "0755 bin/?", "0777 bin/sh -> "+bash)

	got, err = usrBinEnvLink("../../bin/./env")
	if err != nil {
		t.Fatal(err)
	}
	checkTree(t, got, "preset usrBinEnv",
		"0755 ./?", "0755 usr/?", "0755 usr/bin/?", "0777 usr/bin/env -> ../../bin/./env")
}

func TestLinksRefuse(t *testing.T) {
	tests := []struct{ target, want string }{
		{"", "is empty"},
		{"/bin//sh", "is /bin/sh itself"},
		{"sh", "is /bin/sh itself"},
		{"../../../bin/sh", "is /bin/sh itself"},
		{"/bin/ba\x00sh", "NUL"},
		{"/" + strings.Repeat("a", 4095), "4096 bytes"},
	}
	for _, tt := range tests {
		_, err := binShLink(tt.target)
		checkError(t, err, "preset binSh: target ", tt.want)
		if len(err.Error()) > 400 {
			t.Errorf("message of %d bytes", len(err.Error()))
		}
	}
	if _, err := usrBinEnvLink("env"); err == nil {
		t.Error("usr/bin/env -> env accepted")
	}
	if _, err := binShLink("/" + strings.Repeat("a", 4094)); err != nil {
		t.Errorf("a link text of 4095 bytes: %v", err)
	}
}
