package main

import (
	"archive/tar"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestExportOmits: an ordinary user gets a directory with all that he may set,
// and is told of the rest; nothing in it gives his rights away.
func TestExportOmits(t *testing.T) {
	needRoot(t)
	dir := openDir(t, "")
	must(t, os.Chmod(dir, 0o777))
	must(t, writeTar(filepath.Join(dir, "tree.tar"), func(w *tar.Writer) error {
		for _, h := range []*tar.Header{
			{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o555},
			{Name: "bin/su", Typeflag: tar.TypeReg, Mode: 0o6755},
			{Name: "bin/ping", Typeflag: tar.TypeReg, Mode: 0o755, PAXRecords: map[string]string{
				"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}},
			{Name: "dev/", Typeflag: tar.TypeDir, Mode: 0o700},
			{Name: "dev/null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3},
			{Name: "dev/pipe", Typeflag: tar.TypeFifo, Mode: 0o622},
			{Name: "closed/", Typeflag: tar.TypeDir, Mode: 0},
			{Name: "closed/file", Typeflag: tar.TypeReg, Mode: 0o200},
		} {
			if err := w.WriteHeader(h); err != nil {
				return err
			}
		}
		return nil
	}))
	mustRun(t, dir, "build", "--name", "omits", "--tag", "1", "--copy", "tree.tar", "-q", "-o", "image.tar")
	cmd := varve(t, dir, "export", "image.tar", "-o", "root/")
	asNobody(cmd)
	inShell("umask 0277")(cmd)
	o := run(t, cmd)
	if o.code != 0 {
		t.Fatalf("exit code %d: %s", o.code, o.stderr)
	}
	mustFind(t, o.stderr, "warning", `the owners of 8 files, such as 0:0 of "."`, `bits of 1 file,`, `such as "bin/su"`,
		`extended attributes of 1 file, such as "bin/ping"`, `1 device, such as "dev/null"`, "-o FILE.tar")
	for name, want := range map[string]uint32{
		".": unix.S_IFDIR | 0o755, "bin": unix.S_IFDIR | 0o555, "bin/su": unix.S_IFREG | 0o755, "dev/pipe": unix.S_IFIFO | 0o622,
		"closed": unix.S_IFDIR, "closed/file": unix.S_IFREG | 0o200, "dev/null": 0,
	} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, "root", name), &st); err != nil && want != 0 {
			t.Error(err)
		}
		if st.Mode != want || want != 0 && (st.Uid != nobody || st.Gid != nobody || st.Mtim.Sec != 1) {
			t.Errorf("%s has mode %o, owner %d:%d and time %d, want mode %o", name, st.Mode, st.Uid, st.Gid, st.Mtim.Sec, want)
		}
	}
}
