package tree

import (
	"fmt"
	"maps"
)

// Rule sets attributes of the entries that a glob matches. A field that is nil or empty leaves
// its attribute as it is.
type Rule struct {
	// Path is a glob, read from the tree's root with or without a leading
	// slash: "*" and "?" within a component, "**" across components, [a-z],
	// {a,b}. "dir/**" is dir and everything below it; "/" is the root alone.
	Path string
	// Mode is 0 to 07777.
	Mode *uint32
	// UID and GID are 0 to MaxID.
	UID, GID *uint32
	// Capabilities is the text form of cap_from_text(3), such as
	// "cap_net_raw,cap_net_admin=ep", for regular files.
	Capabilities string
}

// Apply changes the entries as the rule says. Of several rules, the last that sets an attribute
// wins. Changing owners keeps the set-user-id bits and capabilities. It works on what goes into
// headers, so it needs no privilege.
//
// A symlink has no mode: one that a glob matches among other entries keeps its 0777, and a mode
// for symlinks alone is an error. So are capabilities for anything but a regular file, and a
// rule that matches nothing or sets nothing. After an error the entries are partly changed and
// must not be used.
func (r Rule) Apply(entries []*Entry) error {
	matched, links, err := r.Try(entries)
	switch {
	case err != nil:
		return err
	case matched == 0:
		return &NoMatchError{r.Path}
	case r.Mode != nil && links == matched:
		return fmt.Errorf("%q matches only symlinks, which have no mode: name what they point to", r.Path)
	}
	return nil
}

// Select returns the entries that the rule is for.
func (r Rule) Select(entries []*Entry) ([]*Entry, error) {
	g, err := parseGlob(r.Path)
	if err != nil {
		return nil, err
	}
	var selected []*Entry
	for _, e := range entries {
		if g.match(e.Path) {
			selected = append(selected, e)
		}
	}
	return selected, nil
}

// NoMatchError says that a rule is for no entry.
type NoMatchError struct{ Path string }

func (e *NoMatchError) Error() string { return fmt.Sprintf("no entry matches %q", e.Path) }

// Try is like Apply, but a rule may match nothing, or symlinks alone. It counts the entries that
// match, and the symlinks among them.
func (r Rule) Try(entries []*Entry) (matched, links int, err error) {
	selected, err := r.Select(entries)
	if err != nil {
		return 0, 0, err
	}
	if r.Mode == nil && r.UID == nil && r.GID == nil && r.Capabilities == "" {
		return 0, 0, fmt.Errorf("%q sets nothing: give it a mode, uid, gid or capabilities", r.Path)
	}
	if err := checkAttributes(r.Mode, r.UID, r.GID); err != nil {
		return 0, 0, fmt.Errorf("%q: %w", r.Path, err)
	}
	var capability string
	if r.Capabilities != "" {
		if capability, err = EncodeCapabilities(r.Capabilities); err != nil {
			return 0, 0, fmt.Errorf("%q: %w", r.Path, err)
		}
	}
	for _, e := range selected {
		if e.Type == Symlink {
			links++
		}
		if capability != "" && e.Type != Regular {
			return 0, 0, fmt.Errorf("%q matches %q, a %s: only regular files have capabilities", r.Path, e.Path, e.Type)
		}
		r.set(e, capability)
	}
	return len(selected), links, nil
}

func (r Rule) set(e *Entry, capability string) {
	if r.Mode != nil && e.Type != Symlink {
		e.Mode = *r.Mode
		e.Implied = false
	}
	setOwner(e, r.UID, r.GID)
	if capability != "" {
		// The map may be shared with another copy of the entry.
		xattrs := maps.Clone(e.Xattrs)
		if xattrs == nil {
			xattrs = map[string]string{}
		}
		xattrs[CapabilityXattr] = capability
		e.Xattrs = xattrs
	}
}
