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

// File returns a value that is the same for entries that are names of one file, where their
// source says so, and nil for other entries. It speaks of an Overlay's files whether or not they
// have an Inode.
func (e *Entry) File() any {
	if e.Inode != nil {
		return e.Inode
	}
	if c, ok := e.Content.(*inLayer); ok && len(c.extent.names) > 1 {
		return c.extent
	}
	return nil
}

// LinkFiles gives the entries with the same File the same Inode, another one than they had.
func LinkFiles(entries []*Entry) {
	files := map[any]*Inode{}
	for _, e := range entries {
		file := e.File()
		if file == nil {
			continue
		}
		if files[file] == nil {
			files[file] = new(Inode)
		}
		e.Inode = files[file]
	}
}

// nameOf makes e another name of the file that has the name first.
func (e *Entry) nameOf(first *Entry) {
	if first.Inode == nil {
		first.Inode = new(Inode)
	}
	e.Inode = first.Inode
}
