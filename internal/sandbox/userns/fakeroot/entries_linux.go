//go:build amd64 || arm64

package fakeroot

import (
	"archive/tar"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/tree"
)

// Unpacked records what of an entry cannot be on disk; fd is the file.
func (r *Records) Unpacked(fd int, hdr *tar.Header) error {
	if hdr.Typeflag == tar.TypeSymlink {
		r.links.note(path.Base(hdr.Name), hdr.Linkname)
	}
	rec := record{uid: uint32(hdr.Uid), gid: uint32(hdr.Gid), xattrs: attributesOf(hdr)}
	if hdr.Typeflag != tar.TypeSymlink {
		rec.special = uint32(hdr.Mode) & specialBits
	}
	switch hdr.Typeflag {
	case tar.TypeChar:
		rec.kind = unix.S_IFCHR
	case tar.TypeBlock:
		rec.kind = unix.S_IFBLK
	}
	if rec.kind != 0 {
		rec.rdev = unix.Mkdev(uint32(hdr.Devmajor), uint32(hdr.Devminor))
	}
	if rec == (record{}) {
		return nil
	}
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO, &st); err != nil {
		return err
	}
	return r.set(fd, keyOf(&st), rec)
}

// xattrRecord is the prefix of PAX records of extended attributes.
const xattrRecord = tree.XattrRecord

// attributesOf returns the extended attributes of an entry.
func attributesOf(hdr *tar.Header) xattrSet {
	var all map[string]string
	for key, value := range hdr.PAXRecords {
		if attr, ok := strings.CutPrefix(key, xattrRecord); ok {
			if all == nil {
				all = map[string]string{}
			}
			all[attr] = value
		}
	}
	return makeXattrs(all)
}

// Describe changes the stat result of the file fd to what the file is to be, and returns
// the extended attributes that belong in a layer.
func (r *Records) Describe(fd int, st *unix.Stat_t) map[string]string {
	rec, _ := r.get(fd, key{st.Dev, st.Ino})
	rec.apply(st)
	var kept map[string]string
	for attr, value := range rec.xattrs.each {
		// Files that are not programs can have capabilities, but without effect, and not in
		// a layer.
		if tree.KeepXattr(attr) && (attr != capabilityXattr || st.Mode&unix.S_IFMT == unix.S_IFREG && value != "") {
			if kept == nil {
				kept = map[string]string{}
			}
			kept[attr] = value
		}
	}
	return kept
}
