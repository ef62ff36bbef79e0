package tree

import (
	"archive/tar"
	"errors"
	"fmt"
	"math"
	"strings"
)

const (
	// WhiteoutPrefix begins the names of whiteouts in an image's layer.
	WhiteoutPrefix = ".wh."
	// XattrRecord begins the PAX records of extended attributes.
	XattrRecord = "SCHILY.xattr."
)

// tarName returns the path that an entry's name stands for.
func tarName(hdr *tar.Header) (string, error) {
	name, err := archivePath(hdr.Name)
	if err != nil {
		return "", err
	}
	for c := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(c, WhiteoutPrefix) {
			return "", fmt.Errorf("%q is a whiteout, which deletes a file of an image's lower layers: a tarball to copy has nothing to delete", c)
		}
	}
	return name, checkKind(hdr, name)
}

// checkKind returns an error if an entry's name implies another type than its own.
func checkKind(hdr *tar.Header, name string) error {
	if name == "." && hdr.Typeflag != tar.TypeDir {
		return errors.New("the root must be a directory")
	}
	if strings.HasSuffix(hdr.Name, "/") && hasContent(hdr.Typeflag) {
		return errors.New("it is a regular file, but its name ends in a slash")
	}
	return nil
}

// brief returns a text for a message, shortened if it is long.
func brief(text string) string {
	const most = 200
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}

// archivePath normalises a path from an archive.
func archivePath(name string) (string, error) {
	switch {
	case name == "":
		return "", errors.New("its name is empty")
	case len(name) > 2*maxPath:
		return "", fmt.Errorf("its name has %d bytes: paths have at most %d", len(name), maxPath)
	case strings.ContainsRune(name, 0):
		return "", fmt.Errorf("%q holds a NUL byte", brief(name))
	case hasDotDot(name):
		return "", fmt.Errorf("%q holds \"..\", which would lead out of the tree", brief(name))
	}
	name = cleanPath(name)
	if len(name) > maxPath {
		return "", fmt.Errorf("its name has %d bytes: paths have at most %d", len(name), maxPath)
	}
	for c := range strings.SplitSeq(name, "/") {
		if len(c) > maxName {
			return "", fmt.Errorf("a part of its name has %d bytes: names have at most %d", len(c), maxName)
		}
	}
	return name, nil
}

// entry makes the Entry of a header, without the content of a regular file. A hard link gets its
// target's.
func (x *tarIndex) entry(hdr *tar.Header, name string) (*Entry, error) {
	var e *Entry
	if hdr.Typeflag == tar.TypeLink {
		target, err := x.linkTarget(hdr, name)
		if err != nil {
			return nil, err
		}
		c := *target
		e = &c
		e.Path = name
		if e.Type == Regular {
			e.nameOf(target)
		}
	} else {
		var err error
		if e, err = headerEntry(hdr, name); err != nil {
			return nil, err
		}
		e.Stamp = x.tar.stamp
	}
	e.Source = x.tar.name + ":" + name
	e.Path = e.Source[len(x.tar.name)+1:] // held once
	return e, nil
}

// headerEntry makes the Entry of any header but a hard link's, without
// content. It keeps copies of texts: those of archive/tar are parts of the whole PAX
// header, which may hold a MiB of anything.
func headerEntry(hdr *tar.Header, name string) (*Entry, error) {
	e := &Entry{Path: name, Mode: uint32(hdr.Mode) & 0o7777}
	var err error
	if e.Type, err = entryType(hdr.Typeflag); err != nil {
		return nil, err
	}
	if e.Type != Regular && hdr.Size != 0 {
		// Readers differ on whether content follows, so no interpretation is safe.
		return nil, fmt.Errorf("a %s cannot have a size, here of %d bytes", e.Type, hdr.Size)
	}
	if err := setTarAttributes(e, hdr); err != nil {
		return nil, err
	}
	e.Xattrs, err = tarXattrs(hdr, e.Type)
	return e, err
}

func entryType(flag byte) (Type, error) {
	switch flag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return Regular, nil
	case tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo:
		return Type(flag), nil
	}
	return 0, fmt.Errorf("its type %q is not one of files that can be copied", flag)
}

// setTarAttributes sets the attributes that may be out of range in an archive: owner, time, link
// target and device numbers.
func setTarAttributes(e *Entry, hdr *tar.Header) error {
	for _, id := range []int{hdr.Uid, hdr.Gid} {
		if int64(id) < 0 || int64(id) > MaxID {
			return fmt.Errorf("its owner %d:%d is not between 0 and %d", hdr.Uid, hdr.Gid, uint32(MaxID))
		}
	}
	e.UID, e.GID = uint32(hdr.Uid), uint32(hdr.Gid)
	e.ModTime = hdr.ModTime.Unix()
	if !inTime(e.ModTime) {
		return fmt.Errorf("its time of %d seconds is not in the years 1970 to 9999", e.ModTime)
	}
	switch e.Type {
	case Symlink:
		e.Mode, e.Linkname = 0o777, strings.Clone(hdr.Linkname)
		if len(e.Linkname) == 0 || len(e.Linkname) > maxPath || strings.ContainsRune(e.Linkname, 0) {
			return fmt.Errorf("its target has %d bytes or holds a NUL: symlinks have 1 to %d bytes", len(e.Linkname), maxPath)
		}
	case Char, Block:
		for _, n := range []int64{hdr.Devmajor, hdr.Devminor} {
			if n < 0 || n > math.MaxUint32 {
				return fmt.Errorf("its device number %d,%d is out of range", hdr.Devmajor, hdr.Devminor)
			}
		}
		e.Devmajor, e.Devminor = uint32(hdr.Devmajor), uint32(hdr.Devminor)
		if e.Type == Char && e.Devmajor == 0 && e.Devminor == 0 {
			return errors.New("the character device 0:0 is overlayfs's whiteout, which deletes: it is not a file")
		}
	}
	return nil
}

// inTime reports whether an entry may have the time t, in seconds since 1970.
func inTime(t int64) bool { return t >= 0 && t <= maxTime }

func tarXattrs(hdr *tar.Header, t Type) (map[string]string, error) {
	var found map[string]string
	for key, value := range hdr.PAXRecords {
		name, ok := strings.CutPrefix(key, XattrRecord)
		if !ok || !KeepXattr(name) {
			continue
		}
		if name == CapabilityXattr {
			if t != Regular {
				return nil, fmt.Errorf("a %s has capabilities: only regular files can", t)
			}
			if err := checkCapability(value); err != nil {
				return nil, err
			}
		}
		if found == nil {
			found = map[string]string{}
		}
		found[strings.Clone(name)] = strings.Clone(value)
	}
	return found, nil
}

// linkTarget returns the entry that a hard link called name links to.
func (x *tarIndex) linkTarget(hdr *tar.Header, name string) (*Entry, error) {
	target, err := archivePath(hdr.Linkname)
	switch {
	case err != nil:
		return nil, fmt.Errorf("it is a hard link: %w", err)
	case hdr.Size != 0:
		return nil, fmt.Errorf("a hard link cannot have a size, here of %d bytes", hdr.Size)
	case target == name:
		return nil, errors.New("it is a hard link to itself")
	}
	i, ok := x.at[target]
	if !ok {
		return nil, fmt.Errorf("it is a hard link to %q, which is not in the tarball before it", brief(hdr.Linkname))
	}
	e := x.entries[i]
	if e.Type == Dir {
		return nil, fmt.Errorf("it is a hard link to %q, which is a directory", brief(hdr.Linkname))
	}
	return e, nil
}
