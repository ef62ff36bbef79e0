package sandboxtest

import (
	"os"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/testtools"
)

// testSurrounding: what a step finds around its tree.
func testSurrounding(t *testing.T, s *suite) {
	base := Busybox(t)
	check := func(name string, change func(*sandbox.Step), script, want string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			step := Script(base, script)
			if change != nil {
				change(step)
			}
			o := s.run(t.Context(), t, step).must(t)
			if o.stdout != want {
				t.Errorf("it says %q, want %q\nstderr: %s", o.stdout, want, o.stderr)
			}
		})
	}
	check("environment", func(s *sandbox.Step) {
		s.Env = []string{"PATH=/bin", "B=2", "A=1 =x"}
		s.Argv, s.Script = []string{"env"}, ""
	}, "", "PATH=/bin\nB=2\nA=1 =x\n")
	check("arguments", func(s *sandbox.Step) {
		s.Argv, s.Script = []string{"printf", "%s|", "a b", "", "*", "'\""}, ""
	}, "", "a b||*|'\"|")
	check("script", nil, "echo '$x' \"(a)\" `echo b`; set | grep -c zz || true", "$x (a) b\n0\n")
	check("long script", nil, "echo start\n"+strings.Repeat("# comment\n", 1<<17)+"echo end", "start\nend\n")
	check("working directory", func(s *sandbox.Step) { s.Dir = "/etc" }, "pwd; ls passwd", "/etc\npasswd\n")
	check("root", nil, "pwd; id -u; id -g; umask", "/\n0\n0\n0022\n")
	check("name", nil, "hostname", "localhost\n")
	check("devices", nil, `echo x >/dev/null; head -c 3 /dev/zero | od -An -tx1; head -c 8 /dev/urandom | wc -c
		test -c /dev/full -a -c /dev/tty -a -d /dev/shm; readlink /dev/fd; readlink /dev/stdin; echo err >/dev/stderr`,
		" 00 00 00\n8\n/proc/self/fd\n/proc/self/fd/0\n")
	check("a device is the machine's", nil, "set +e; for d in null zero tty; do touch /dev/$d 2>&1; chmod 600 /dev/$d 2>&1; chown 5 /dev/$d 2>&1; done | grep -c 'Read-only'", "9\n")
	check("processes", nil, "ls /proc | grep -c '^[0-9]' >/tmp/n; test $(cat /tmp/n) -lt 10; rm /tmp/n; ls /proc/self/fd", "0\n1\n2\n3\n")
	check("standard input", nil, "cat; echo end", "end\n")
	check("given input", func(s *sandbox.Step) { s.Stdin = strings.NewReader("some\ninput\n") }, "cat", "some\ninput\n")
	check("tree", nil, "cat etc/group; stat -c '%a %u:%g %F %Y' /tmp /bin/sh /etc/passwd",
		"root:x:0:\napp:x:1002:\n1777 0:0 directory 0\n777 0:0 symbolic link 0\n644 0:0 regular file 1000\n")
	check("signals", nil, "yes | head -n 1; sleep 100 & kill -TERM $!; wait $! || echo $?", "y\n143\n")
	check("orphans", nil, "(sleep 0.1; echo late) & (sleep 1000 &) ; wait; echo end", "late\nend\n")
}

// testTools: steps with the machine's own programs.
func testTools(t *testing.T, s *suite) {
	if _, err := os.Stat("/bin/sh"); err != nil {
		testtools.Lack(t, "the machine's own programs: %v", err)
	}
	secret := t.TempDir()
	writeFile(t, secret+"/secret", "canary")
	tools := t.TempDir()
	writeFile(t, tools+"/tool", "#!/bin/sh\necho tool: $*\n")
	chmod(t, tools+"/tool", 0o755)
	base := With(nil, Dir(".", 0o755), File("file", "x\n", 0o644))
	for _, fakeRoot := range []bool{true, false} {
		t.Run(map[bool]string{true: "fake root", false: "unprivileged"}[fakeRoot], func(t *testing.T) {
			step := &sandbox.Step{
				Name: "test", Tree: base, Root: sandbox.HostTools, FakeRoot: fakeRoot,
				Argv: []string{"/bin/sh", "-e"}, Tools: []string{tools, "/no/such"}, Env: []string{"PATH=" + tools + ":/usr/bin:/bin"},
				Script: `
					pwd
					tool a b
					! ls ` + secret + ` 2>/dev/null
					! ls /root /home /var /run /boot /mnt 2>/dev/null
					ls / /etc | grep -v '^lib\|^nix\|alternatives\|ld.so.cache'
					! touch /usr/x /x /etc/x ` + tools + `/x 2>/dev/null
					echo t >/tmp/t
					cat file /tmp/t >new
					mkdir sub
					rm file`,
			}
			o := s.run(t.Context(), t, step).must(t)
			want := "/build\ntool: a b\n/:\nbin\nbuild\ndev\netc\nproc\nsbin\nsys\ntmp\nusr\n\n/etc:\ngroup\nhosts\npasswd\n"
			if o.stdout != want {
				t.Errorf("it says\n%swant\n%s", o.stdout, want)
			}
			wantChanges(t, o.changes, `
				d 0755 0:0 .
				- 0000 0:0 .wh.file ""
				- 0644 0:0 new "x\nt\n"
				d 0755 0:0 sub`)
		})
	}
}
