package tree

// Inode is the identity of a file that has several names. Only its address means anything.
type Inode struct{ _ byte }

// LinkByInode gives the regular files of a directory the same Inode that are names of one file on
// disk, by their Stamps. How many names a file has outside of the tree makes no difference.
func LinkByInode(entries []*Entry) {
	type file struct{ device, inode uint64 }
	first := map[file]*Entry{}
	for _, e := range entries {
		if e.Type != Regular || e.Stamp == (Stamp{}) {
			continue
		}
		at := file{e.Stamp.Device, e.Stamp.Inode}
		if one := first[at]; one == nil {
			first[at] = e
		} else {
			e.nameOf(one)
		}
	}
}

// nameOf makes e another name of the file that has the name first.
func (e *Entry) nameOf(first *Entry) {
	if first.Inode == nil {
		first.Inode = new(Inode)
	}
	e.Inode = first.Inode
}
