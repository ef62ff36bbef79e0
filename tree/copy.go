package tree

import "fmt"

// Copy says where the tree of one source goes and what changes on the way: an
// element of the spec's copyToRoot. A nil Mode or owner leaves the source's.
type Copy struct {
	// Target is the path in the image that the source's root becomes.
	Target string
	// Mode, 0 to 07777, is set on the target alone: on the file if the source is
	// one, on the directory and nothing in it otherwise. Rules change what is in
	// it.
	Mode *uint32
	// UID and GID are set on the target and everything below it.
	UID, GID *uint32
	// Exclude lists globs of paths to leave out, below the source's root, as
	// Exclude takes them.
	Exclude []string
	// Idle, if not nil, is called for each of these globs that matches nothing,
	// before any entry is changed.
	Idle func(glob string)
	// InPlace makes Apply change the entries that it is given, which saves the
	// memory for copies. They must not be used for anything else afterwards.
	InPlace bool
}

// Apply returns a copy of the canonical tree entries with all these changes.
func (c Copy) Apply(entries []*Entry) ([]*Entry, error) {
	if err := checkAttributes(c.Mode, c.UID, c.GID); err != nil {
		return nil, err
	}
	kept, idle, err := Exclude(entries, c.Exclude)
	if err != nil {
		return nil, err
	}
	for _, glob := range idle {
		if c.Idle != nil {
			c.Idle(glob)
		}
	}
	kept, err = placed(kept, c.Target, c.InPlace)
	if err != nil {
		return nil, err
	}
	target, err := cleanTarget(c.Target)
	if err != nil {
		return nil, err
	}
	for _, e := range kept {
		if e.Path == target && c.Mode != nil {
			if e.Type == Symlink {
				return nil, fmt.Errorf("mode %04o for %q: a symlink has no mode", *c.Mode, c.Target)
			}
			e.Mode = *c.Mode
			e.Implied = false
		}
		if e.Path == target || below(e.Path, target) {
			setOwner(e, c.UID, c.GID)
		}
	}
	return kept, nil
}

func setOwner(e *Entry, uid, gid *uint32) {
	if uid != nil {
		e.UID, e.Uname, e.Implied = *uid, "", false
	}
	if gid != nil {
		e.GID, e.Gname, e.Implied = *gid, "", false
	}
}

func checkAttributes(mode, uid, gid *uint32) error {
	if mode != nil && *mode > 0o7777 {
		return fmt.Errorf("mode %#o is not between 0 and 07777", *mode)
	}
	for _, id := range []*uint32{uid, gid} {
		if id != nil && *id > MaxID {
			return fmt.Errorf("id %d is above %d", *id, uint32(MaxID))
		}
	}
	return nil
}
