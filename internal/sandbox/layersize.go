package sandbox

// MaxText limits the paths of the tree that a step leaves together with the link targets
// and attributes of what it changed, in bytes in total, whatever its disk limit: varve
// holds them in memory. It allows 256 bytes for each possible file.
const MaxText = 256 * MaxEntries

// EntrySize returns the least that an entry counts towards Limits.Disk, in bytes: its size
// in a layer without its content, where its path has path bytes, its link target link
// bytes, and its attributes with their names xattrs bytes.
func EntrySize(path, link, xattrs int) int64 {
	const (
		block  = 512
		field  = 100 // what fits into a header
		around = 32  // a text, in an extended header
	)
	extended := 0
	for _, text := range []int{path + len("/"), link} {
		if text > field {
			extended += text + around
		}
	}
	if xattrs > 0 {
		extended += xattrs + around
	}
	if extended == 0 {
		return block
	}
	return 2*block + (int64(extended)+block-1)/block*block
}
