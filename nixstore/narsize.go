package nixstore

// The length of a Nix archive (NAR) follows from names, sizes and link texts
// alone. Source: "Nix Archive (NAR) format" in the Nix manual. Every string is
// its length in eight bytes, then itself, padded with zeros to a multiple of
// eight.

// narString returns how many bytes a string of n bytes takes.
func narString(n uint64) uint64 { return 8 + (n+7)/8*8 }

// narStrings returns how many bytes the strings take.
func narStrings(list ...string) uint64 {
	var sum uint64
	for _, s := range list {
		sum += narString(uint64(len(s)))
	}
	return sum
}

// narHeader is what an archive begins with, before the node of its root.
func narHeader() uint64 { return narStrings("nix-archive-1") }

// narFile returns the length of a regular file's node.
func narFile(size uint64, executable bool) uint64 {
	n := narStrings("(", "type", "regular", "contents", ")") + narString(size)
	if executable {
		n += narStrings("executable", "")
	}
	return n
}

// narSymlink returns the length of a symlink's node.
func narSymlink(target string) uint64 {
	return narStrings("(", "type", "symlink", "target", target, ")")
}

// narDirectory returns the length of a directory's node without its entries.
func narDirectory() uint64 { return narStrings("(", "type", "directory", ")") }

// narEntry returns what an entry of a directory takes beside its own node.
func narEntry(name string) uint64 {
	return narStrings("entry", "(", "name", name, "node", ")")
}
