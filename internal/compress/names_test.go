package compress

import "testing"

func TestNames(t *testing.T) {
	for _, c := range []struct {
		name string
		want Algorithm
		tar  bool
		file bool
	}{
		{"a.tar", None, true, true}, {"a.tar.gz", Gzip, true, true}, {"a.tgz", Gzip, true, true},
		{"a.tar.zst", Zstd, true, true}, {"a.tzst", Zstd, true, true}, {"a.tar.xz", Xz, true, true}, {"a.txz", Xz, true, true},
		{"a.tar.bz2", Bzip2, true, true}, {"a.tbz2", Bzip2, true, true}, {"a.tbz", Bzip2, true, true},
		{"a.gz", "", false, true}, {"a.xz", "", false, true}, {"a.zst", "", false, true}, {"a.bz2", "", false, true},
		{"a", "", false, false}, {"tar", "", false, false}, {"a.tar.d", "", false, false}, {"atgz", "", false, false}, {"", "", false, false},
	} {
		if got, ok := TarName(c.name); got != c.want || ok != c.tar {
			t.Errorf("%q: %q, %t", c.name, got, ok)
		}
		if got := FileName(c.name); got != c.file {
			t.Errorf("%q: a file: %t", c.name, got)
		}
	}
}
