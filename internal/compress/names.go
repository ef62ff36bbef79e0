package compress

import "strings"

// TarName finds out from its name whether a file is a tar archive, and how it is
// compressed. It is for callers that may not look into the file, or have yet to write
// it.
func TarName(name string) (Algorithm, bool) {
	for _, f := range formats {
		for _, ending := range append([]string{".tar" + f.file}, f.tars...) {
			if strings.HasSuffix(name, ending) {
				return f.algorithm, true
			}
		}
	}
	return "", false
}

// FileName reports whether a file is a tar archive or compressed, by its name.
func FileName(name string) bool {
	for _, f := range formats {
		if f.file != "" && strings.HasSuffix(name, f.file) {
			return true
		}
	}
	_, ok := TarName(name)
	return ok
}
