package sandbox

// MaxText bounds the paths of the tree that a step leaves and the link targets and
// attributes of what it changed, all together and in bytes, however much disk it may use:
// varve holds them in memory. It is 256 for each of the files that there may be.
const MaxText = 256 * MaxEntries

// EntrySize is what an entry counts at least of Limits.Disk, in bytes: as much as it takes
// of a layer without its content, where its path has path bytes, its link target link,
// and its attributes with their names xattrs.
func EntrySize(path, link, xattrs int) int64 {
	const (
		block  = 512
		field  = 100 // what a header has room for
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
