package sandboxtest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// ownersTree returns a tree with everything that a tree can say about a file.
func ownersTree(t *testing.T) []*tree.Entry {
	setgid := Owned(Dir("srv/mail", 0o2775), 0, 8)
	device := &tree.Entry{Path: "srv/zero", Type: tree.Char, Mode: 0o666, Devmajor: 1, Devminor: 5}
	capable := File("srv/ping", "p", 0o755)
	capable.Xattrs = map[string]string{"security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "user.a": "x"}
	link := Owned(Link("srv/link", "su"), 3, 4)
	return With(Busybox(t), Probe(t), Dir("srv", 0o755), setgid, device, capable, link,
		Owned(File("srv/su", "s", 0o4755), 0, 0), Owned(File("srv/app", "a", 0o640), 1001, 1002),
		Owned(File("srv/big", "b", 0o644), 60000, 60001))
}

// testForeignOwners: a tree may have owners for which the machine has no ids.
func testForeignOwners(t *testing.T, s *suite) {
	base := With(Busybox(t), Owned(File("f", "x", 0o644), 4294967293, 3000000000), Owned(Dir("d", 0o755), 100000, 0))
	o := s.run(t.Context(), t, Script(base, "test $(stat -c %u:%g f) = 4294967293:3000000000; chown 70000:70000 d; touch d/n; chown :5 f")).must(t)
	wantChanges(t, o.changes, `
		d 0755 0:0 .
		d 0755 70000:70000 d
		- 0644 0:0 d/n ""
		- 0644 4294967293:5 f "x"`)
}

// testOwners: what root may do to files appears to work, whoever runs the step, and is in
// the layer. Each script itself checks the output of stat.
func testOwners(t *testing.T, s *suite) {
	base := ownersTree(t)
	for _, c := range ownerCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := s.run(t.Context(), t, Script(base, c.script)).must(t)
			wantChanges(t, o.changes, c.want)
		})
	}
}

// Digest returns the digest of the layers of steps that do everything root may do to files.
func Digest(t *testing.T, newRunner NewRunner) string {
	t.Helper()
	base := ownersTree(t)
	hash := sha256.New()
	for _, c := range ownerCases() {
		r, err := newRunner(t, t.TempDir()).Run(t.Context(), Script(base, c.script))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		w := layer.NewWriter(hash, layer.GNU, "./")
		for _, e := range r.Changes {
			if err := w.Write(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(w.Close(), r.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return fmt.Sprintf("%x", hash.Sum(nil))
}

type ownerCase struct{ name, script, want string }

func ownerCases() []ownerCase {
	return []ownerCase{
		{"what there is", `
			is() { test "$(stat -c '%u:%g %a' $1)" = "$2" || { stat $1; exit 1; }; }
			is srv/mail '0:8 2775'; is srv/su '0:0 4755'; is srv/app '1001:1002 640'; is srv/big '60000:60001 644'
			is srv/link '3:4 777'; is /bin/sh '0:0 777'
			test "$(ls -ln srv/app | tr -s ' ' | cut -d' ' -f3,4)" = '1001 1002'
			probe getcap srv/ping | grep -q 0100000200200000`, ""},
		{"chown", `
			touch f; chown 7:8 f; test "$(stat -c %u:%g f)" = 7:8
			ln -s f l; chown -h 9:10 l; test "$(stat -c %u:%g l)" = 9:10; chown 11:8 l; test "$(stat -c %u:%g f)" = 11:8
			chown :12 srv/app; chown 0:0 srv/big; chown -R 5:6 srv/mail; (cd srv; chown 1:1 ./../srv/su)`, `
			d 0755 0:0 .
			- 0644 11:8 f ""
			l 0777 9:10 l -> f
			d 0755 0:0 srv
			- 0640 1001:12 srv/app "a"
			- 0644 0:0 srv/big "b"
			d 2775 5:6 srv/mail
			- 0755 1:1 srv/su "s"`},
		{"chmod", `
			touch s g; chmod 4711 s; chmod 2755 g; chmod 6644 srv/app; chmod 755 srv/su; mkdir d; chmod 3770 d
			test "$(stat -c %a s)$(stat -c %a g)$(stat -c %a srv/app)$(stat -c %a srv/su)$(stat -c %a d)" = 471127556644755"3770" || {
				stat -c %a s g srv/app srv/su d; exit 1; }
			chmod u-s srv/app; chmod 0755 g`, `
			d 0755 0:0 .
			d 3770 0:0 d
			- 0755 0:0 g ""
			- 4711 0:0 s ""
			d 0755 0:0 srv
			- 2644 1001:1002 srv/app "a"
			- 0755 0:0 srv/su "s"`},
		{"chown clears modes", "chown 3 srv/su; touch g; chmod 2755 g; chown 3 g; touch l; chmod 2644 l; chown 3 l", `
			d 0755 0:0 .
			- 0755 3:0 g ""
			- 2644 3:0 l ""
			d 0755 0:0 srv
			- 0755 3:0 srv/su "s"`},
		{"capabilities", `
			cp /bin/probe p; probe setcap p; probe getcap p | grep -q '0100000200040000.*security.capability'
			cp -p p q; ! probe getcap q | grep -q security.capability
			mv p r; probe getcap r | grep -q 0100000200040000
			rm q; rm srv/ping; cp r r2; rm r2; dd if=/dev/null of=r 2>/dev/null; echo x >r; probe setcap r`, `
			d 0755 0:0 .
			- 0755 0:0 r "x\n" security.capability=0100000200040000000000000000000000000000
			d 0755 0:0 srv
			- 0000 0:0 srv/.wh.ping ""`},
		{"a capability goes with its owner", "chown 1 srv/ping", `
			d 0755 0:0 .
			d 0755 0:0 srv
			- 0755 1:0 srv/ping "p" user.a=78`},
		{"devices", `
			mkdir d; mknod d/null c 1 3; mknod -m 660 d/sda b 8 0; chmod 666 d/null; chown 0:6 d/sda; mv d/sda d/disk
			mknod d/gone c 1 9; rm d/gone; touch d/file; ! mknod d/null c 1 3 2>/dev/null; mkfifo d/fifo; chmod 620 srv/zero
			cat d/null`, `
			d 0755 0:0 .
			d 0755 0:0 d
			b 0660 0:6 d/disk 8,0
			p 0644 0:0 d/fifo
			- 0644 0:0 d/file ""
			c 0666 0:0 d/null 1,3
			d 0755 0:0 srv
			c 0620 0:0 srv/zero 1,5`},
		{"another user", `
			su app -c 'id -u; id -g; touch /tmp/f; mkdir /tmp/d; ln -s x /tmp/l; mkfifo /tmp/p; echo x >/tmp/d/g' >out
			test "$(cat out)" = "1001
			1002" -o "$(tr '\n' ' ' <out)" = '1001 1002 '
			su app -c 'chown 0 /tmp/f 2>/dev/null' && exit 1
			su app -c 'chmod 600 /tmp/f; chmod 4755 /tmp/d/g; ! chmod 777 /etc/passwd 2>/dev/null; ! chown 1001 /etc/passwd 2>/dev/null'
			test "$(stat -c %u:%g /tmp/f)" = 1001:1002; id -u | grep -qx 0; rm out`, `
			d 0755 0:0 .
			d 1777 0:0 tmp
			d 0755 1001:1002 tmp/d
			- 4755 1001:1002 tmp/d/g "x\n"
			- 0600 1001:1002 tmp/f ""
			l 0777 1001:1002 tmp/l -> x
			p 0644 1001:1002 tmp/p`},
		{"a directory's group", "touch srv/mail/f; mkdir srv/mail/d; echo x >srv/mail/d/g; ln -s x srv/mail/l; su app -c 'umask 0; touch srv/mail/d/h' 2>/dev/null || true; cp /etc/group srv/mail/c", `
			d 0755 0:0 .
			d 0755 0:0 srv
			d 2775 0:8 srv/mail
			- 0644 0:8 srv/mail/c "root:x:0:\napp:x:1002:\n"
			d 2755 0:8 srv/mail/d
			- 0644 0:8 srv/mail/d/g "x\n"
			- 0644 0:8 srv/mail/f ""
			l 0777 0:8 srv/mail/l -> x`},
		{"gone and made again", `
			for i in 1 2 3 4 5 6 7 8; do
				touch a$i; chown 5:5 a$i; rm a$i; touch b$i
				mkdir c$i; chown 5:5 c$i; rmdir c$i; mkdir d$i
				touch e$i f$i; chown 5:5 f$i; mv e$i f$i; touch g$i
				stat -c %u b$i d$i f$i g$i | grep -qv '^0$' && exit 1
			done
			rm -r [bdfg][1-8]; rm srv/app; touch srv/app; ! rmdir srv 2>/dev/null; rm srv/big; ln srv/su srv/big; rm srv/su`, `
			d 0755 0:0 .
			d 0755 0:0 srv
			- 0000 0:0 srv/.wh.su ""
			- 0644 0:0 srv/app ""
			- 4755 0:0 srv/big "s"`},
		{"in another root", `
			mkdir -p new/bin new/etc new/proc; cp /bin/busybox new/bin; ln -s busybox new/bin/sh; cp etc/passwd new/etc
			probe chroot new /bin/busybox sh -c 'cd etc; /bin/busybox chown 5:6 passwd ./../bin/sh /bin/busybox; /bin/busybox stat -c %u:%g /etc/passwd; /bin/busybox touch /n; /bin/busybox rm /n' | grep -qx 5:6
			rm new/bin/busybox`, `
			d 0755 0:0 .
			d 0755 0:0 new
			d 0755 0:0 new/bin
			l 0777 0:0 new/bin/sh -> busybox
			d 0755 0:0 new/etc
			- 0644 5:6 new/etc/passwd "root:x:0:0:root:/:/bin/sh\napp:x:1001:1002:app:/:/bin/sh\n"
			d 0755 0:0 new/proc`},
		{"attributes", `
			touch f; mkdir d; probe setxattr f user.a one; probe setxattr f user.a two; probe setxattr d user.a '' ; ln -s f l
			! probe setxattr nowhere user.a x 2>/dev/null; ! probe setxattr l/ user.a x 2>/dev/null
			probe setxattr l user.a x; probe getcap f | grep -q user.a; cp bin/probe p; probe setcap p; probe setxattr p user.a y
			chown 5 p; ! probe setxattr /dev/null user.a x 2>/dev/null; probe getcap srv/ping | grep -q user.a
			probe dropxattr p user.a; ! probe dropxattr p user.a 2>/dev/null; mv p q; rm q`, `
			d 0755 0:0 .
			d 0755 0:0 d user.a=
			- 0644 0:0 f "" user.a=78
			l 0777 0:0 l -> f`},
		{"threads", "touch t0 t1 t2 t3 t4 t5 t6 t7; probe threads t 8 /bin/chmod 2711 t0", `
			d 0755 0:0 .
			- 2711 0:0 t0 "" user.a=78
			- 4701 0:0 t1 "" user.a=78
			- 4702 0:0 t2 "" user.a=78
			- 4703 0:0 t3 "" user.a=78
			- 4704 0:0 t4 "" user.a=78
			- 4705 0:0 t5 "" user.a=78
			- 4706 0:0 t6 "" user.a=78
			- 4707 0:0 t7 "" user.a=78`},
		{"stopped", `
			touch late
			sh -c 'trap "chmod 4711 late; exit 3" TERM; touch ready; while :; do sleep 0.01; done' &
			until test -e ready; do sleep 0.01; done
			kill -STOP $!; sleep 0.05; kill -TERM $!; sleep 0.05; test "$(stat -c %a late)" = 644
			kill -CONT $!; code=0; wait $! || code=$?; test $code = 3; rm ready`, `
			d 0755 0:0 .
			- 4711 0:0 late ""`},
		{"large ids", "touch f; chown 65534:65534 f; stat -c %u:%g f | grep -qx 65534:65534", `
			d 0755 0:0 .
			- 0644 65534:65534 f ""`},
	}
}
