package rootfs

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/varve-image/varve/tree"
)

// accountsOf reads the lists of an image with these files.
func accountsOf(t testing.TB, files map[string]string) *Accounts {
	t.Helper()
	var entries []*tree.Entry
	for path, text := range files {
		mode := uint32(0o644)
		if strings.HasSuffix(path, "shadow") {
			mode = 0o640
		}
		entries = append(entries, tree.NewFile(path, mode, text))
	}
	all, err := tree.Complete(entries)
	if err != nil {
		t.Fatal(err)
	}
	a, err := ReadAccounts(Lower{Entries: all})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// changed returns the files that have changed, as path and text.
func changed(t testing.TB, a *Accounts) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, e := range a.Changed() {
		r, err := e.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil || int64(len(data)) != e.Size {
			t.Fatal(err, len(data), e.Size)
		}
		if strings.HasSuffix(e.Path, "shadow") && e.Mode != 0o640 {
			t.Errorf("/%s has mode %04o now", e.Path, e.Mode)
		}
		got[e.Path] = string(data)
	}
	return got
}

const (
	passwdBelow  = "root:x:0:0:root:/root:/bin/bash\n# people\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\n\nold:x:1000:1000:Old:/home/old:/bin/sh\n+::::::\n"
	groupBelow   = "root:x:0:\nadm:x:4:syslog,old\nwww-data:x:33\nold:x:1000:\nstaff:x:1001:\n"
	shadowBelow  = "root:*:19000:0:99999:7:::\nold:!:19000::::::"
	gshadowBelow = "root:*::\nadm:*::syslog\nstaff:!::\n"
)

func id(n uint32) *uint32 { return &n }

func TestAddAccounts(t *testing.T) {
	below := map[string]string{"etc/passwd": passwdBelow, "etc/group": groupBelow, "etc/shadow": shadowBelow, "etc/gshadow": gshadowBelow}
	lists := map[string]string{"etc/passwd": passwdBelow, "etc/group": groupBelow}
	for _, c := range []struct {
		name   string
		files  map[string]string
		users  []User
		groups []Group
		want   map[string]string // what follows the file's own text, or all of it after =
		added  []Added
	}{
		{name: "nothing", files: below},
		{name: "a name alone", files: lists, users: []User{{Name: "app"}}, added: []Added{{1002, 1002, "/home/app", true}},
			want: map[string]string{"etc/passwd": "app:x:1002:1002::/home/app:/bin/sh\n", "etc/group": "app:x:1002:\n"}},
		{name: "with shadow files", files: below, users: []User{{Name: "app", UID: id(5), Groups: []string{"adm"}}}, added: []Added{{5, 5, "/home/app", true}},
			want: map[string]string{
				"etc/passwd": "app:x:5:5::/home/app:/bin/sh\n", "etc/shadow": "\napp:!:::::::\n",
				"etc/group":   "=" + strings.Replace(groupBelow, "syslog,old", "syslog,old,app", 1) + "app:x:5:\n",
				"etc/gshadow": "=" + strings.Replace(gshadowBelow, "syslog", "syslog,app", 1) + "app:!::\n",
			}},
		{name: "everything stated", files: lists, users: []User{{Name: "app", UID: id(7), GID: id(33), Comment: "An app", Home: "/srv", Shell: "/bin/true"}}, added: []Added{{7, 33, "/srv", true}},
			want: map[string]string{"etc/passwd": "app:x:7:33:An app:/srv:/bin/true\n"}},
		{name: "a gid of no group", files: lists, users: []User{{Name: "app", UID: id(7), GID: id(8)}}, added: []Added{{7, 8, "/home/app", true}},
			want: map[string]string{"etc/passwd": "app:x:7:8::/home/app:/bin/sh\n", "etc/group": "app:x:8:\n"}},
		{name: "a group by name", files: lists, users: []User{{Name: "app", UID: id(7), Group: "www-data"}}, added: []Added{{7, 33, "/home/app", true}},
			want: map[string]string{"etc/passwd": "app:x:7:33::/home/app:/bin/sh\n"}},
		{name: "a group of the name", files: lists, users: []User{{Name: "staff"}}, added: []Added{{1001, 1001, "/home/staff", true}},
			want: map[string]string{"etc/passwd": "staff:x:1001:1001::/home/staff:/bin/sh\n"}},
		{name: "a group with the id of its user", files: lists, users: []User{{Name: "app", UID: id(2000)}}, groups: []Group{{Name: "app", Members: []string{"www-data"}}}, added: []Added{{2000, 2000, "/home/app", true}},
			want: map[string]string{"etc/passwd": "app:x:2000:2000::/home/app:/bin/sh\n", "etc/group": "app:x:2000:www-data\n"}},
		{name: "stated ids are not free", files: lists, users: []User{{Name: "a"}, {Name: "b", UID: id(1002)}, {Name: "c", GID: id(1003)}}, groups: []Group{{Name: "d", GID: id(1004)}, {Name: "e"}},
			added: []Added{{1006, 1006, "/home/a", true}, {1002, 1002, "/home/b", true}, {1001, 1003, "/home/c", true}},
			want: map[string]string{
				"etc/passwd": "a:x:1006:1006::/home/a:/bin/sh\nb:x:1002:1002::/home/b:/bin/sh\nc:x:1001:1003::/home/c:/bin/sh\n",
				"etc/group":  "d:x:1004:\ne:x:1005:\na:x:1006:\nb:x:1002:\nc:x:1003:\n",
			}},
		{name: "what is there", files: below, users: []User{{Name: "old", UID: id(1000), GID: id(1000), Comment: "Old", Home: "/home/old", Shell: "/bin/sh", Groups: []string{"adm"}}, {Name: "www-data", Group: "www-data"}},
			groups: []Group{{Name: "adm", GID: id(4), Members: []string{"old"}}, {Name: "staff"}}, added: []Added{{1000, 1000, "/home/old", false}, {33, 33, "/var/www", false}},
			want: map[string]string{"etc/gshadow": "=" + strings.Replace(gshadowBelow, "syslog", "syslog,old", 1)}},
		{name: "a member of a line with three fields", files: lists, groups: []Group{{Name: "www-data", Members: []string{"root", "old", "root"}}},
			want: map[string]string{"etc/group": "=" + strings.Replace(groupBelow, "www-data:x:33", "www-data:x:33:root,old", 1)}},
		{name: "no lists", users: []User{{Name: "app", UID: id(5)}, {Name: "nobody"}}, added: []Added{{5, 5, "/home/app", true}, {65534, 65534, "/var/empty", false}},
			want: map[string]string{
				"etc/passwd": "root:x:0:0:root user:/var/empty:/bin/sh\nnobody:x:65534:65534:nobody:/var/empty:/bin/sh\napp:x:5:5::/home/app:/bin/sh\n",
				"etc/group":  "root:x:0:\nnobody:x:65534:\napp:x:5:\n",
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := accountsOf(t, c.files)
			added, err := a.Add(c.users, c.groups)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(added, c.added) {
				t.Errorf("it added %v, want %v", added, c.added)
			}
			got := changed(t, a)
			for path, want := range c.want {
				all, whole := strings.CutPrefix(want, "=")
				if !whole {
					all = c.files[path] + want
				}
				if got[path] != all {
					t.Errorf("/%s is\n%swant\n%s", path, got[path], all)
				}
				delete(got, path)
			}
			if len(got) > 0 {
				t.Errorf("changed are %q too", got)
			}
		})
	}
}

// TestAddAccountsAgain: what was added is nothing new to the image that has it.
func TestAddAccountsAgain(t *testing.T) {
	users := []User{{Name: "app", Groups: []string{"adm", "extra"}}, {Name: "x", UID: id(77), Comment: "c", Home: "/h", Shell: "/s"}}
	groups := []Group{{Name: "extra", Members: []string{"old", "x"}}}
	files := map[string]string{"etc/passwd": passwdBelow, "etc/group": groupBelow, "etc/shadow": shadowBelow, "etc/gshadow": gshadowBelow}
	a := accountsOf(t, files)
	if _, err := a.Add(users, groups); err != nil {
		t.Fatal(err)
	}
	for path, text := range changed(t, a) {
		files[path] = text
	}
	again := accountsOf(t, files)
	if _, err := again.Add(users, groups); err != nil {
		t.Fatal(err)
	}
	if got := changed(t, again); len(got) > 0 {
		t.Errorf("the second time changes %q", got)
	}
}

func TestAddAccountsErrors(t *testing.T) {
	a := accountsOf(t, map[string]string{"etc/passwd": passwdBelow + "odd:x:many:1\n", "etc/group": groupBelow + "odd:x:few:\n"})
	_, err := a.Add([]User{
		{Name: "old", UID: id(1001)}, {Name: "old", GID: id(4)}, {Name: "old", Shell: "/bin/zsh"}, {Name: "old", Group: "adm"}, {Name: "old", Home: "/", Comment: "Old"},
		{Name: "a", UID: id(33)}, {Name: "b", UID: id(4)}, {Name: "c", Group: "stuff"}, {Name: "adm", UID: id(9), GID: id(9)}, {Name: "d", UID: id(9), Groups: []string{"amd", "adm"}},
		{Name: "odd"}, {Name: "e", Group: "odd"},
	}, []Group{{Name: "adm", GID: id(5)}, {Name: "f", GID: id(33)}, {Name: "staff", Members: []string{"olld", "old"}}})
	want := []string{
		`groups[0]: the image has a group "adm" already, with the id 4`, `groups[1]: the id 33 is that of the group "www-data"`,
		`users[0]: the image has a user "old" already, with the uid "1000" and not "1001": leave uid out, or take another name`,
		`users[1]: the image has a user "old" already, with the gid "1000" and not "4": leave gid out, or take another name`,
		`users[2]: the image has a user "old" already, with the shell "/bin/sh" and not "/bin/zsh": leave shell out, or take another name`,
		`users[3]: the image has a user "old" already, with the gid "1000" and not "4": leave gid out, or take another name`,
		`users[4]: the image has a user "old" already, with the home "/home/old" and not "/": leave home out, or take another name`,
		`users[5]: the id 33 is that of the user "www-data"`,
		`users[6]: the id 4 is that of the group "adm": the user's own group cannot have it; state the user's group with gid or group`,
		`users[7]: the image's /etc/group does not have the group "stuff": did you mean "staff"?`,
		`users[8]: the image has no group with the id 9, and its group "adm" has another: add one with groups`,
		`users[10]: the line of /etc/passwd has no valid ids: "odd:x:many:1"`,
		`users[11]: the line of /etc/group has no valid id: "odd:x:few:"`,
		`groups[2]: the image's /etc/passwd does not have the user "olld": did you mean "old"?`,
		`users[9]: the image's /etc/group does not have the group "amd": did you mean "adm"?`,
	}
	if err == nil {
		t.Fatal("it is accepted")
	}
	if got := strings.Split(err.Error(), "\n"); !slices.Equal(got, want) {
		t.Errorf("the errors are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestNoFreeAccount(t *testing.T) {
	var text strings.Builder
	for i := firstID; i <= lastID; i++ {
		text.WriteString("u" + decimal(uint32(i)) + ":x:" + decimal(uint32(i)) + ":0:::\n")
	}
	a := accountsOf(t, map[string]string{"etc/passwd": text.String()})
	if _, err := a.Add([]User{{Name: "a"}}, nil); err == nil || err.Error() != "users[0]: no id from 1000 to 60000 is free: state one" {
		t.Error(err)
	}
}

func TestLookUpAccounts(t *testing.T) {
	a := accountsOf(t, map[string]string{"etc/passwd": passwdBelow + "old:x:1:1:::\n", "etc/group": groupBelow})
	if uid, gid, err := a.User("old"); uid != 1000 || gid != 1000 || err != nil {
		t.Error(uid, gid, err)
	}
	if gid, err := a.Group("adm"); gid != 4 || err != nil {
		t.Error(gid, err)
	}
	for _, name := range []string{"", "# people", "+"} {
		if _, _, err := a.User(name); err == nil {
			t.Errorf("there is a user %q", name)
		}
	}
	none := accountsOf(t, nil)
	if uid, gid, err := none.User("root"); uid != 0 || gid != 0 || err != nil {
		t.Error(uid, gid, err)
	}
	if _, err := none.Group("root"); err != nil {
		t.Error(err)
	}
	if _, _, err := none.User("app"); err == nil || err.Error() != `the user "app" is not known in the image, which has no /etc/passwd: write the number, or add the user with users` {
		t.Error(err)
	}
	all, err := tree.Complete([]*tree.Entry{tree.NewDir("etc/passwd", 0o755)})
	if err != nil {
		t.Fatal(err)
	}
	var bad *LowerError
	if _, err := ReadAccounts(Lower{Entries: all}); !errors.As(err, &bad) {
		t.Errorf("a directory is read as a list: %v", err)
	}
}

// FuzzAccounts: whatever the lists hold, all their lines stay, and a user who is added
// is found again.
func FuzzAccounts(f *testing.F) {
	f.Add(passwdBelow, groupBelow, shadowBelow)
	f.Add("", "::::", "a\nb:\n:::")
	f.Fuzz(func(t *testing.T, passwd, group, shadow string) {
		a := accountsOf(t, map[string]string{"etc/passwd": passwd, "etc/group": group, "etc/shadow": shadow})
		added, err := a.Add([]User{{Name: "app"}}, nil)
		if err != nil {
			return
		}
		got := changed(t, a)
		for path, before := range map[string]string{"etc/passwd": passwd, "etc/group": group, "etc/shadow": shadow} {
			if after, ok := got[path]; ok && !strings.HasPrefix(after, before) {
				t.Errorf("/%s lost lines: %q of %q", path, after, before)
			}
		}
		uid, gid, err := a.User("app")
		if err != nil || uid != added[0].UID || gid != added[0].GID {
			t.Errorf("app is %d:%d (%v), and %v was added", uid, gid, err, added[0])
		}
	})
}
