package sandboxtest

import (
	"testing"

	"github.com/varve-image/varve/internal/sandbox"
)

// testChanges: the layer says what a step does, and nothing else.
func testChanges(t *testing.T, s *suite) {
	base := With(Busybox(t),
		Dir("data", 0o750), File("data/a", "one\n", 0o640), File("data/b", "two\n", 0o644),
		Dir("data/sub", 0o755), File("data/sub/c", "three\n", 0o600), Link("data/l", "a"),
		Dir("srv", 0o755), Owned(File("srv/mine", "x\n", 0o644), 1001, 1002))
	for _, c := range []struct{ name, script, want string }{
		{"nothing", "true", ""},
		{"reading is not a change", "cat data/a data/sub/c; ls -la data; find / -xdev >/dev/null", ""},
		{"a touch is not a change", "touch data/a data data/sub; touch -h data/l; chmod 640 data/a; echo one >data/a; mv data/b x; mv x data/b", ""},
		{"new files", "umask 027; mkdir n; echo hi >n/f; ln -s f n/l; mkfifo n/p; echo -n >n/empty", `
			d 0755 0:0 .
			d 0750 0:0 n
			- 0640 0:0 n/empty ""
			- 0640 0:0 n/f "hi\n"
			l 0777 0:0 n/l -> f
			p 0640 0:0 n/p`},
		{"changed files", "echo more >>data/a; chmod 600 data/b; chmod 700 data/sub", `
			d 0755 0:0 .
			d 0750 0:0 data
			- 0640 0:0 data/a "one\nmore\n"
			- 0600 0:0 data/b "two\n"
			d 0700 0:0 data/sub`},
		{"deleted", "rm data/a; rm -r data/sub; rm data/l; rm srv/mine", `
			d 0755 0:0 .
			d 0750 0:0 data
			- 0000 0:0 data/.wh.a ""
			- 0000 0:0 data/.wh.l ""
			- 0000 0:0 data/.wh.sub ""
			d 0755 0:0 srv
			- 0000 0:0 srv/.wh.mine ""`},
		{"deleted with its parent", "rm -r data", `
			d 0755 0:0 .
			- 0000 0:0 .wh.data ""`},
		{"made anew", "rm -r data; mkdir data; chmod 750 data; echo new >data/n", `
			d 0755 0:0 .
			d 0750 0:0 data
			- 0000 0:0 data/.wh.a ""
			- 0000 0:0 data/.wh.b ""
			- 0000 0:0 data/.wh.l ""
			- 0000 0:0 data/.wh.sub ""
			- 0644 0:0 data/n "new\n"`},
		{"of another type", "rm -r data/sub data/a; echo f >data/sub; mkdir data/a; ln -sfn b data/l", `
			d 0755 0:0 .
			d 0750 0:0 data
			d 0755 0:0 data/a
			l 0777 0:0 data/l -> b
			- 0644 0:0 data/sub "f\n"`},
		{"renamed", "mv data/sub data/moved; mv data/a data/b", `
			d 0755 0:0 .
			d 0750 0:0 data
			- 0000 0:0 data/.wh.a ""
			- 0000 0:0 data/.wh.sub ""
			- 0640 0:0 data/b "one\n"
			d 0755 0:0 data/moved
			- 0600 0:0 data/moved/c "three\n"`},
		{"hard links", "echo x >n; ln n data/n; ln data/a data/again", `
			d 0755 0:0 .
			d 0750 0:0 data
			- 0640 0:0 data/again "one\n"
			- 0644 0:0 data/n "x\n"
			- 0644 0:0 n "x\n"`},
		{"owners", "chown 7:8 data/a; chown -h 9:10 data/l; mkdir n; chown 65534 n; chgrp 5 data/sub; chown 0:0 srv/mine", `
			d 0755 0:0 .
			d 0750 0:0 data
			- 0640 7:8 data/a "one\n"
			l 0777 9:10 data/l -> a
			d 0755 0:5 data/sub
			d 0755 65534:0 n
			d 0755 0:0 srv
			- 0644 0:0 srv/mine "x\n"`},
		{"an owner stays", "echo more >>srv/mine", `
			d 0755 0:0 .
			d 0755 0:0 srv
			- 0644 1001:1002 srv/mine "x\nmore\n"`},
		{"modes", "echo x >s; chmod 4755 s; mkdir g; chmod 2775 g; mkdir t; chmod 1777 t; chmod 0 data/a", `
			d 0755 0:0 .
			d 0750 0:0 data
			- 0000 0:0 data/a "one\n"
			d 2775 0:0 g
			- 4755 0:0 s "x\n"
			d 1777 0:0 t`},
		{"odd names", "touch -- '-n' 'a b' \"$(printf 'new\\nline')\" \"$(printf '\\377')\" '\\'", `
			d 0755 0:0 .
			- 0644 0:0 -n ""
			- 0644 0:0 \ ""
			- 0644 0:0 a b ""
			- 0644 0:0 new` + "\n" + `line ""
			- 0644 0:0 ` + "\xff" + ` ""`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := s.run(t.Context(), t, Script(base, c.script)).must(t)
			wantChanges(t, o.changes, c.want)
		})
	}
	t.Run("unprivileged", func(t *testing.T) { testUnprivileged(t, s) })
	t.Run("mount points", func(t *testing.T) { testMountPoints(t, s) })
}

// testUnprivileged: a step without fake root can write everything and cannot become anyone
// else.
func testUnprivileged(t *testing.T, s *suite) {
	base := With(Busybox(t), Owned(Dir("srv", 0o755), 1001, 1002), Owned(File("srv/mine", "x\n", 0o640), 1001, 1002),
		Owned(File("srv/gone", "x\n", 0o640), 1001, 1002), Probe(t),
		Owned(Dir("srv/mail", 0o2775), 0, 8), Owned(File("srv/su", "s", 0o4755), 0, 0), Owned(File("srv/sg", "g", 0o2755), 1, 2))
	step := Script(base, `
		test "$(id -u):$(id -g)" = 1000:1000
		echo more >>srv/mine
		rm srv/gone
		echo new >srv/new
		chmod 600 srv/new
		! chown 0 srv/new 2>/dev/null
		! chown 5 srv/mine 2>/dev/null
		! mknod srv/null c 1 3 2>/dev/null
		! su app -c true 2>/dev/null
		test "$(stat -c '%u %a' srv/su) $(stat -c '%u %a' srv/mail)" = '1000 4755 1000 2775'
		echo x >srv/own; chmod 4711 srv/own; chmod 755 srv/su; mkdir srv/mail/sub; mv srv/sg srv/moved
		probe setxattr srv/own user.a x; ! probe setcap srv/own 2>/dev/null; probe getcap srv/own | grep -q user.a`)
	step.FakeRoot = false
	o := s.run(t.Context(), t, step).must(t)
	wantChanges(t, o.changes, `
		d 0755 0:0 .
		d 0755 1001:1002 srv
		- 0000 0:0 srv/.wh.gone ""
		- 0000 0:0 srv/.wh.sg ""
		d 2775 0:8 srv/mail
		d 2755 0:0 srv/mail/sub
		- 0640 1001:1002 srv/mine "x\nmore\n"
		- 2755 1:2 srv/moved "g"
		- 0600 0:0 srv/new "new\n"
		- 4711 0:0 srv/own "x\n" user.a=78
		- 0755 0:0 srv/su "s"`)
}

// testMountPoints: mount points are not in the layer, unless the tree has them.
func testMountPoints(t *testing.T, s *suite) {
	store := t.TempDir()
	writeFile(t, store+"/item", "in the store\n")
	base := Busybox(t)
	run := func(name, script, want string) {
		t.Run(name, func(t *testing.T) {
			step := Script(base, script)
			step.Binds = []sandbox.Bind{
				{Source: store, Target: "/nix/store"}, {Source: store + "/item", Target: "/opt/some/item"},
			}
			o := s.run(t.Context(), t, step).must(t)
			wantChanges(t, o.changes, want)
		})
	}
	run("untouched", "cat /nix/store/item /opt/some/item; test -e /dev/null -a -d /proc/1 -a -d /sys", "")
	run("read-only", "! echo x >/nix/store/item; ! touch /nix/store/new; ! rm /opt/some/item", "")
	run("beside them", "mkdir /nix/var; echo x >/opt/some/new; touch /dev/x /dev/shm/y", `
		d 0755 0:0 .
		d 0755 0:0 nix
		d 0755 0:0 nix/var
		d 0755 0:0 opt
		d 0755 0:0 opt/some
		- 0644 0:0 opt/some/new "x\n"`)
	base = With(base, Dir("dev", 0o700), Dir("nix", 0o755), Dir("nix/store", 0o1775), Dir("proc", 0o555), File("dev/own", "x", 0o600))
	run("the tree's own", "cat /nix/store/item", "")
}
