package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// address returns where a slice's elements are: on the heap, since the slice is kept, where
// nothing is moved, and nothing is freed while operations run.
func address[T any](s []T) uintptr {
	held = s
	return uintptr(unsafe.Pointer(unsafe.SliceData(s)))
}

var held any //nolint:unused // written, for the garbage collector to see

// pointer returns the address of a text, with a zero at its end.
func pointer(text string) uintptr { return address(append([]byte(text), 0)) }

// mapped returns the memory that the kernel has mapped at an address.
func mapped(at uintptr, size int) []byte {
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&at)), size)
}

func unquote(word string) string {
	if !strings.HasPrefix(word, `"`) {
		return word
	}
	text, err := strconv.Unquote(word)
	if err != nil {
		malformed("%s: %v", word, err)
	}
	return text
}

// expand makes a path from a word.
func (m *machine) expand(word string) string {
	text := unquote(word)
	text = strings.ReplaceAll(text, "%L", strings.Repeat("n", 256))
	text = strings.ReplaceAll(text, "%p", strconv.Itoa(os.Getppid()))
	for i := range 10 {
		text = strings.ReplaceAll(text, fmt.Sprintf("%%%d", i), strconv.Itoa(slots+i))
	}
	return strings.ReplaceAll(text, "%.", m.base)
}

func integer(word string) int64 {
	i, err := strconv.ParseInt(word, 0, 64)
	if err != nil {
		malformed("%v", err)
	}
	return i
}

func identity(word string) uintptr { return uintptr(uint32(integer(word))) }

func identityList(text string) (ids []uint32) {
	if text == "-" {
		return nil
	}
	for word := range strings.SplitSeq(text, ",") {
		ids = append(ids, uint32(identity(word)))
	}
	return ids
}

func device(word string) uintptr {
	major, minor, ok := strings.Cut(word, ":")
	if !ok {
		malformed("device %q", word)
	}
	return uintptr(unix.Mkdev(uint32(integer(major)), uint32(integer(minor))))
}

func limits(word string) unix.Rlimit {
	limit := func(word string) uint64 {
		if word == "inf" {
			return unix.RLIM_INFINITY
		}
		return uint64(integer(word))
	}
	soft, hard, _ := strings.Cut(word, ":")
	return unix.Rlimit{Cur: limit(soft), Max: limit(hard)}
}

func showLimit(l uint64) string {
	if l == unix.RLIM_INFINITY {
		return "inf"
	}
	return strconv.FormatUint(l, 10)
}

func times(word string) uintptr {
	if word == "now" {
		return 0
	}
	var spec []unix.Timespec
	for part := range strings.SplitSeq(word, ":") {
		switch part {
		case "omit":
			spec = append(spec, unix.Timespec{Nsec: unix.UTIME_OMIT})
		case "setnow":
			spec = append(spec, unix.Timespec{Nsec: unix.UTIME_NOW})
		default:
			spec = append(spec, unix.Timespec{Sec: integer(part)})
		}
	}
	if len(spec) != 2 {
		malformed("times %q", word)
	}
	return address(spec)
}

// flags combines what is between bars: names and octal numbers.
func flags(text string) (sum uintptr) {
	for word := range strings.SplitSeq(text, "|") {
		bits, ok := flagNames[word]
		if !ok {
			n, err := strconv.ParseUint(word, 0, 64)
			if err != nil {
				malformed("flag: %v", err)
			}
			bits = uintptr(n)
		}
		sum |= bits
	}
	return sum
}

var flagNames = map[string]uintptr{
	"O_RDONLY": unix.O_RDONLY, "O_WRONLY": unix.O_WRONLY, "O_RDWR": unix.O_RDWR, "O_CREAT": unix.O_CREAT, "O_EXCL": unix.O_EXCL,
	"O_TRUNC": unix.O_TRUNC, "O_APPEND": unix.O_APPEND, "O_DIRECTORY": unix.O_DIRECTORY, "O_NOFOLLOW": unix.O_NOFOLLOW,
	"O_PATH": unix.O_PATH, "O_TMPFILE": unix.O_TMPFILE, "O_CLOEXEC": unix.O_CLOEXEC, "O_NONBLOCK": unix.O_NONBLOCK, "O_SYNC": unix.O_SYNC,
	"O_NOATIME": unix.O_NOATIME,

	"RESOLVE_BENEATH": unix.RESOLVE_BENEATH, "RESOLVE_IN_ROOT": unix.RESOLVE_IN_ROOT, "RESOLVE_NO_MAGICLINKS": unix.RESOLVE_NO_MAGICLINKS,
	"RESOLVE_NO_SYMLINKS": unix.RESOLVE_NO_SYMLINKS, "RESOLVE_NO_XDEV": unix.RESOLVE_NO_XDEV,

	"AT_EMPTY_PATH": unix.AT_EMPTY_PATH, "AT_SYMLINK_NOFOLLOW": unix.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_FOLLOW": unix.AT_SYMLINK_FOLLOW,
	"AT_REMOVEDIR": unix.AT_REMOVEDIR, "AT_EACCESS": unix.AT_EACCESS,
	"RENAME_NOREPLACE": unix.RENAME_NOREPLACE, "RENAME_EXCHANGE": unix.RENAME_EXCHANGE, "RENAME_WHITEOUT": unix.RENAME_WHITEOUT,
	"XATTR_CREATE": unix.XATTR_CREATE, "XATTR_REPLACE": unix.XATTR_REPLACE,

	"S_IFREG": unix.S_IFREG, "S_IFIFO": unix.S_IFIFO, "S_IFSOCK": unix.S_IFSOCK, "S_IFCHR": unix.S_IFCHR, "S_IFBLK": unix.S_IFBLK,
	"S_IFDIR": unix.S_IFDIR, "S_IFLNK": unix.S_IFLNK,
}

// value makes the bytes for a word: "text", hex:00ff, big:60000 (that many bytes),
// acl:u:rwx,u5:rw-,g:r--,g8:r--,m:rwx,o:--- (linux/posix_acl_xattr.h) or capabilities with
// cap_net_bind_service: cap1, cap2, cap3:5 (of root id 5), with an e behind the revision
// where they are effective.
func (m *machine) value(word string) []byte {
	kind, rest, _ := strings.Cut(word, ":")
	switch kind {
	case "hex":
		b, err := hex.DecodeString(rest)
		if err != nil {
			malformed("%q: %v", word, err)
		}
		return b
	case "big":
		return []byte(strings.Repeat("a", int(integer(rest))))
	case "acl":
		return accessList(rest)
	case "cap1", "cap1e", "cap2", "cap2e", "cap3", "cap3e":
		return capabilities(kind, rest)
	}
	if !strings.HasPrefix(word, `"`) {
		malformed("there is no value %q", word)
	}
	return []byte(unquote(word))
}

func capabilities(kind, rootID string) []byte {
	revision, effective := uint32(kind[3]-'0'), uint32(len(kind)-4)
	b := binary.LittleEndian.AppendUint32(nil, revision<<24|effective)
	b = binary.LittleEndian.AppendUint32(b, 1<<unix.CAP_NET_BIND_SERVICE)
	b = append(b, 0, 0, 0, 0)
	if revision > 1 {
		b = append(b, make([]byte, 8)...)
	}
	if revision == 3 {
		b = binary.LittleEndian.AppendUint32(b, uint32(identity(rootID)))
	}
	return b
}

func accessList(text string) []byte {
	tags := map[string]uint16{"u": 1, "U": 2, "g": 4, "G": 8, "m": 16, "o": 32}
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for entry := range strings.SplitSeq(text, ",") {
		who, bits, _ := strings.Cut(entry, ":")
		tag, id := who[:1], ^uint32(0)
		if len(who) > 1 {
			tag, id = strings.ToUpper(tag), uint32(identity(who[1:]))
		}
		var perm uint16
		for i, c := range "xwr" {
			if strings.ContainsRune(bits, c) {
				perm |= 1 << i
			}
		}
		b = binary.LittleEndian.AppendUint16(b, tags[tag])
		b = binary.LittleEndian.AppendUint16(b, perm)
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	return b
}

// showBytes quotes readable text, and shortens long values.
func showBytes(b []byte) string {
	if len(b) > 200 {
		return fmt.Sprintf("%d bytes", len(b))
	}
	return strconv.Quote(string(b))
}

func showStat(st *unix.Stat_t) string {
	return show(st.Mode, st.Uid, st.Gid, uint64(st.Nlink), st.Size, unix.Major(st.Rdev), unix.Minor(st.Rdev))
}

func showStatx(st *unix.Statx_t) string {
	return show(uint32(st.Mode), st.Uid, st.Gid, uint64(st.Nlink), int64(st.Size), st.Rdev_major, st.Rdev_minor)
}

// show leaves out what differs from one file system to another.
func show(mode, uid, gid uint32, links uint64, size int64, major, minor uint32) string {
	kinds := map[uint32]string{unix.S_IFDIR: "d", unix.S_IFREG: "-", unix.S_IFLNK: "l", unix.S_IFIFO: "p", unix.S_IFCHR: "c", unix.S_IFBLK: "b",
		unix.S_IFSOCK: "s"}
	kind := kinds[mode&unix.S_IFMT]
	text := fmt.Sprintf("%s %04o %d:%d", kind, mode&0o7777, uid, gid)
	switch kind {
	case "d":
		return text
	case "c", "b":
		text += fmt.Sprintf(" device %d:%d", major, minor)
	}
	return text + fmt.Sprintf(" size %d links %d", size, links)
}
