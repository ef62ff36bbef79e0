package compress

import "strings"

// endings are those of names of compressed files, and the short ones of tar archives
// among them.
var endings = []struct {
	format Format
	file   string
	tar    []string
}{
	{Gzip, ".gz", []string{".tgz"}},
	{Zstd, ".zst", []string{".tzst"}},
	{Bzip2, ".bz2", []string{".tbz2", ".tbz"}},
	{Xz, ".xz", []string{".txz"}},
}

// TarName tells by its name whether a file is a tar archive, and how it is
// compressed. It serves those that may not look into the file, or have yet to write it.
func TarName(name string) (Format, bool) {
	if strings.HasSuffix(name, ".tar") {
		return None, true
	}
	for _, e := range endings {
		for _, ending := range append(e.tar, ".tar"+e.file) {
			if strings.HasSuffix(name, ending) {
				return e.format, true
			}
		}
	}
	return "", false
}

// FileName tells by its name whether a file is a tar archive or is compressed.
func FileName(name string) bool {
	for _, e := range endings {
		if strings.HasSuffix(name, e.file) {
			return true
		}
	}
	_, ok := TarName(name)
	return ok
}
