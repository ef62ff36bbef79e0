package spec

import (
	"cmp"
	"fmt"
	"strings"
)

// Owner is who owns a file: a user and a group of the image.
type Owner struct {
	UID, GID uint32
	// User is the user's name, in the place of UID. It is looked up in the image.
	User string
	// Group is the name of the group, in the place of GID, or its id in digits.
	// With User it may be empty: then it is the user's own group.
	Group string
	// Keep leaves every owner as the tarball says, in the place of all others.
	Keep bool
}

// wantOwner says what an owner may be.
const wantOwner = `"user:group" or one for both, each a name or a number from 0 to 4294967294`

// owner returns an owner, or "keep".
func (d *decoder) owner(v value) *Owner {
	if v.kind == text && v.text == "keep" {
		return &Owner{Keep: true}
	}
	return d.ownerOr(v, "keep, ")
}

// ownerInImage returns an owner of something that is not copied.
func (d *decoder) ownerInImage(v value) *Owner {
	if v.kind == text && v.text == "keep" {
		d.fail(v, `got "keep", which is for tarballs in copyToRoot; want %s`, wantOwner)
		return nil
	}
	return d.ownerOr(v, "")
}

// ownerOr returns "user:group", or one of them for both. A user by name alone has
// the group that the image gives it.
func (d *decoder) ownerOr(v value, others string) *Owner {
	if v.kind != number && v.kind != text {
		d.want(v, others+wantOwner)
		return nil
	}
	user, group, both := strings.Cut(v.text, ":")
	o := &Owner{}
	uid, why, ok := parseID(user)
	if isAccount(user) {
		o.User, ok = user, true
	}
	o.UID = uid
	switch {
	case !ok:
	case !both && o.User == "":
		o.GID = uid
	case !both:
	case isAccount(group):
		o.Group = group
	default:
		if o.GID, why, ok = parseID(group); o.User != "" {
			o.Group, o.GID = group, 0
		}
	}
	if !ok {
		d.fail(v, "got %s, want %s%s%s", v.describe(), others, wantOwner, why)
		return nil
	}
	return o
}

// value returns the owner as it is written; nil for none.
func (o *Owner) value() any {
	if o == nil {
		return nil
	}
	return o.String()
}

// String returns the owner as specs write it.
func (o Owner) String() string {
	switch {
	case o.Keep:
		return "keep"
	case o.User != "" && o.Group == "":
		return o.User
	}
	return cmp.Or(o.User, fmt.Sprint(o.UID)) + ":" + cmp.Or(o.Group, fmt.Sprint(o.GID))
}

// Named reports whether the owner has a name that is looked up in the image.
func (o *Owner) Named() bool { return o != nil && (o.User != "" || o.Group != "") }
