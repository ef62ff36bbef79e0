package tree

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// disagreement is a tar that says something in two ways, or in a way on which readers differ.
type disagreement struct {
	name  string
	parts [][]byte
	// refused says that no interpretation is safe.
	refused bool
	// unlike is the program, GNU tar or bsdtar, that reads it differently; a comment says why
	// varve does not follow it.
	unlike string
}

func disagreements() []disagreement {
	return slices.Concat(paxSizes(), paxNames(), paxNumbers(), paxGlobals(), paxRecords(), gnuNames(), ustarNumbers(), ustarNames(), tarTypes(), sparseMaps())
}

func tarFile(name, text string) []byte { return rawHeader('0', name, len(text), "", text) }

// hiddenFile is a file called hidden, for a reader that takes content for headers.
var hiddenFile = string(tarFile("hidden", ""))

// longName returns GNU tar's header of a long name ('L') or link target ('K').
func longName(kind byte, text string) []byte {
	return rawHeader(kind, "././@LongLink", len(text), "", text)
}

// field returns a header with other bytes at an offset, and the right checksum.
func field(header []byte, at int, text string) []byte {
	h := bytes.Clone(header)
	copy(h[at:], text)
	rawSum(h)
	return h
}

// Places in a header (POSIX pax, "ustar Interchange Format"; GNU tar's manual,
// "Basic Tar Format").
const (
	uidField, gidField, sizeField, timeField = 108, 116, 124, 136
	magicField, prefixField                  = 257, 345
	gnuSparse, gnuExtended, gnuRealSize      = 386, 482, 483
	gnuMagic, v7Magic                        = "ustar  \x00", "\x00\x00\x00\x00\x00\x00\x00\x00"
)

// base256 returns a number as GNU tar writes numbers that do not fit.
func base256(n int64, width int) string {
	b := make([]byte, width)
	for i := range b {
		b[i] = byte(n >> min(8*(width-1-i), 63))
	}
	b[0] |= 0x80
	return string(b)
}

func paxSizes() []disagreement {
	block := strings.Repeat("x", tarBlock)
	return []disagreement{
		{name: "PAX size is larger", parts: [][]byte{rawPAX('x', "size=1024"), rawHeader('0', "f", 512, "", block+hiddenFile)}},
		{name: "PAX size is smaller", parts: [][]byte{rawPAX('x', "size=512"), rawHeader('0', "f", 1024, "", block+hiddenFile)}},
		{name: "PAX size, none in ustar", parts: [][]byte{rawPAX('x', "size=3"), rawHeader('0', "f", 0, "", "abc")}},
		{name: "PAX size is empty", parts: [][]byte{rawPAX('x', "size="), tarFile("f", "abc")}, refused: true},
		{name: "PAX size is negative", parts: [][]byte{rawPAX('x', "size=-1"), tarFile("f", "abc")}, refused: true},
		{name: "PAX size is not a number", parts: [][]byte{rawPAX('x', "size=3x"), tarFile("f", "abc")}, refused: true},
		{name: "PAX size has a point", parts: [][]byte{rawPAX('x', "size=3.0"), tarFile("f", "abc")}, refused: true},
		{name: "PAX size has a sign", parts: [][]byte{rawPAX('x', "size=+3"), tarFile("f", "abc")}, refused: true},
		{name: "PAX size has a space", parts: [][]byte{rawPAX('x', "size= 3"), tarFile("f", "abc")}, refused: true},
		{name: "PAX size is hexadecimal", parts: [][]byte{rawPAX('x', "size=0x3"), tarFile("f", "abc")}, refused: true},
		{name: "PAX size of 2^64", parts: [][]byte{rawPAX('x', "size=18446744073709551616"), tarFile("f", "abc")}, refused: true},
		{name: "PAX size twice", parts: [][]byte{rawPAX('x', "size=512", "size=0"), rawHeader('0', "f", 0, "", hiddenFile)}},
		{name: "PAX size and then none", parts: [][]byte{rawPAX('x', "size=512", "size="), rawHeader('0', "f", 0, "", hiddenFile)}, refused: true},
		{name: "PAX headers twice, with a size", parts: [][]byte{rawPAX('x', "size=512"), rawPAX('x', "mtime=2"), rawHeader('0', "f", 0, "", hiddenFile)}},
		{name: "directory with size", parts: [][]byte{rawHeader('5', "d", 512, "", hiddenFile)}, refused: true},
		{name: "directory with PAX size", parts: [][]byte{rawPAX('x', "size=512"), rawHeader('5', "d", 0, "", hiddenFile)}, refused: true},
		{name: "directory with size and PAX size of 0", parts: [][]byte{rawPAX('x', "size=0"), rawHeader('5', "d", 512, "", hiddenFile)}},
		{name: "symlink with size", parts: [][]byte{rawHeader('2', "s", 512, "x", hiddenFile)}, refused: true},
		{name: "symlink with PAX size", parts: [][]byte{rawPAX('x', "size=512"), rawHeader('2', "s", 0, "x", hiddenFile)}, refused: true},
		{name: "hard link with size", parts: [][]byte{tarFile("f", "abc"), rawHeader('1', "h", 512, "f", hiddenFile)}, refused: true},
		{name: "hard link with its file's size", parts: [][]byte{tarFile("f", "abc"), rawHeader('1', "h", 3, "f", "")}, refused: true},
		{name: "hard link with its file again", parts: [][]byte{tarFile("f", "abc"), rawHeader('1', "h", 3, "f", "abc")}, refused: true},
		{name: "hard link with PAX size", parts: [][]byte{tarFile("f", "abc"), rawPAX('x', "size=512"), rawHeader('1', "h", 0, "f", hiddenFile)}, refused: true},
		{name: "FIFO with size", parts: [][]byte{rawHeader('6', "p", 512, "", hiddenFile)}, refused: true},
		{name: "device with size", parts: [][]byte{field(rawHeader('3', "c", 512, "", hiddenFile), 329, "0000001\x000000003\x00")}, refused: true},
	}
}

func paxNames() []disagreement {
	link := func(records ...string) [][]byte {
		return [][]byte{rawPAX('x', records...), rawHeader('2', "f", 0, "target", "")}
	}
	hard := func(records ...string) [][]byte {
		return [][]byte{tarFile("one", "1"), tarFile("two", "2"), rawPAX('x', records...), rawHeader('1', "h", 0, "one", "")}
	}
	path := func(records ...string) [][]byte { return [][]byte{rawPAX('x', records...), tarFile("f", "abc")} }
	return []disagreement{
		{name: "PAX path", parts: path("path=p")},
		{name: "PAX path is empty", parts: path("path="), refused: true},
		{name: "PAX path twice", parts: path("path=p", "path=q")},
		{name: "PAX path and then none", parts: path("path=p", "path="), refused: true},
		{name: "PAX path with dots", parts: path("path=../p"), refused: true},
		{name: "PAX path with a dot", parts: path("path=./p//q/.")},
		{name: "PAX path is absolute", parts: path("path=/p")},
		{name: "PAX path with a slash behind", parts: path("path=p/"), refused: true},
		{name: "PAX path with NUL", parts: path("path=p\x00q"), refused: true},
		{name: "PAX path with a line", parts: path("path=p\nq")},
		{name: "PAX path with an equals sign", parts: path("path=a=b")},
		{name: "PAX path of bytes", parts: path("hdrcharset=BINARY", "path=p\xff")},
		{name: "PAX path and a prefix", parts: [][]byte{rawPAX('x', "path=p"), field(tarFile("f", "abc"), prefixField, "prefix")}},
		{name: "PAX path in capitals", parts: path("PATH=p")},
		{name: "PAX headers twice", parts: [][]byte{rawPAX('x', "path=p"), rawPAX('x', "mtime=2"), tarFile("f", "abc")}},
		{name: "PAX headers twice, with a path each", parts: [][]byte{rawPAX('x', "path=p"), rawPAX('x', "path=q"), tarFile("f", "abc")}},
		{name: "PAX header of Solaris", parts: [][]byte{rawPAX('X', "path=p"), tarFile("f", "abc")}, refused: true},
		{name: "PAX linkpath", parts: link("linkpath=p")},
		{name: "PAX linkpath is empty", parts: link("linkpath="), refused: true},
		{name: "PAX linkpath twice", parts: link("linkpath=p", "linkpath=q")},
		{name: "PAX linkpath with NUL", parts: link("linkpath=p\x00q"), refused: true},
		{name: "PAX linkpath with slashes", parts: link("linkpath=./p//q/")},
		{name: "PAX linkpath of a file", parts: path("linkpath=p")},
		{name: "PAX linkpath of a hard link", parts: hard("linkpath=two")},
		{name: "PAX linkpath of a hard link is empty", parts: hard("linkpath="), refused: true},
		{name: "PAX linkpath of a hard link with a slash", parts: hard("linkpath=./two/")},
		{name: "PAX linkpath of a hard link is absolute", parts: hard("linkpath=/two")},
	}
}

func paxNumbers() []disagreement {
	of := func(records ...string) [][]byte { return [][]byte{rawPAX('x', records...), tarFile("f", "abc")} }
	return []disagreement{
		{name: "PAX owner", parts: of("uid=5", "gid=6")},
		{name: "PAX owner twice", parts: of("uid=5", "uid=6")},
		{name: "PAX owner of 2^21", parts: of("uid=2097152", "gid=4294967294")},
		{name: "PAX owner of 2^32-1", parts: of("uid=4294967295"), refused: true},
		{name: "PAX owner of 2^32", parts: of("uid=4294967296"), refused: true},
		{name: "PAX owner of 2^64", parts: of("gid=18446744073709551616"), refused: true},
		{name: "PAX owner is negative", parts: of("uid=-1"), refused: true},
		{name: "PAX owner is empty", parts: of("uid="), refused: true},
		{name: "PAX owner is a name", parts: of("uid=root"), refused: true},
		{name: "PAX owner is a fraction", parts: of("uid=5.5"), refused: true},
		{name: "PAX owner is octal", parts: of("uid=010")},
		{name: "PAX owner names", parts: of("uname=nobody", "gname=nogroup")},
		{name: "PAX mode", parts: of("mode=0777")},
		{name: "PAX time", parts: of("mtime=5")},
		{name: "PAX time twice", parts: of("mtime=5", "mtime=6")},
		{name: "PAX time with a fraction", parts: of("mtime=5.999999999")},
		{name: "PAX time with a long fraction", parts: of("mtime=5." + strings.Repeat("9", 30))},
		{name: "PAX time with a point", parts: of("mtime=5.")},
		{name: "PAX time without seconds", parts: of("mtime=.5"), refused: true},
		{name: "PAX time is negative", parts: of("mtime=-1"), refused: true},
		{name: "PAX time is a negative fraction", parts: of("mtime=-0.5"), refused: true},
		{name: "PAX time is minus nothing", parts: of("mtime=-0")},
		{name: "PAX time has a sign", parts: of("mtime=+5"), refused: true},
		{name: "PAX time with an exponent", parts: of("mtime=1e3"), refused: true},
		{name: "PAX time is empty", parts: of("mtime="), refused: true},
		{name: "PAX time of year 10000", parts: of("mtime=253402300800"), refused: true},
		{name: "PAX time of 2^63", parts: of("mtime=9223372036854775808"), refused: true},
		{name: "PAX times of access and change", parts: of("atime=7", "ctime=8.5")},
		{name: "PAX attributes of others", parts: of("VENDOR.x=1", "comment=2", "charset=3")},
	}
}

func paxGlobals() []disagreement {
	of := func(records ...string) [][]byte { return [][]byte{rawPAX('g', records...), tarFile("f", "abc")} }
	return []disagreement{
		{name: "global path", parts: of("path=p"), refused: true},
		{name: "global size", parts: of("size=512"), refused: true},
		{name: "global owner", parts: of("uid=5"), refused: true},
		{name: "global time", parts: of("mtime=5"), refused: true},
		{name: "global link target", parts: [][]byte{rawPAX('g', "linkpath=p"), rawHeader('2', "s", 0, "target", "")}, refused: true},
		{name: "global attribute", parts: of("SCHILY.xattr.user.a=b"), refused: true},
		{name: "global sparse size", parts: of("GNU.sparse.size=3"), refused: true},
		{name: "global comment", parts: of("comment=p")},
		{name: "global comment and a path", parts: [][]byte{rawPAX('g', "comment=p"), rawPAX('x', "path=p"), tarFile("f", "abc")}},
		{name: "global comment after a path", parts: [][]byte{rawPAX('x', "path=p"), rawPAX('g', "comment=p"), tarFile("f", "abc")}, refused: true},
		{name: "global comment after a long name", parts: [][]byte{longName('L', "l\x00"), rawPAX('g', "comment=p"), tarFile("f", "abc")}, refused: true},
	}
}

func paxRecords() []disagreement {
	of := func(records string) [][]byte {
		return [][]byte{rawHeader('x', "././@PaxHeader", len(records), "", records), tarFile("f", "abc")}
	}
	return []disagreement{
		{name: "PAX record is shorter than it says", parts: of("99 path=p\n"), refused: true},
		{name: "PAX record is longer than it says", parts: of("9 path=p\n\n"), refused: true},
		{name: "PAX record that says too little", parts: of("7 path=p\n"), refused: true},
		{name: "PAX record of length 0", parts: of("0 path=p\n"), refused: true},
		{name: "PAX record of a negative length", parts: of("-9 path=p\n"), refused: true},
		{name: "PAX record of an enormous length", parts: of("18446744073709551626 path=p\n"), refused: true},
		{name: "PAX record with a zero before its length", parts: of("011 path=p\n")},
		{name: "PAX record with a sign", parts: of("+10 path=p\n"), refused: true},
		{name: "PAX record with a space before", parts: of(" 10 path=p\n"), refused: true},
		{name: "PAX record with two spaces", parts: of("11  path=pq\n"), refused: true},
		{name: "PAX record with a tab", parts: of("10\tpath=p\n"), refused: true},
		{name: "PAX record without a line's end", parts: of("9 path=pq"), refused: true},
		{name: "PAX record without an equals sign", parts: of("8 path p\n"), refused: true},
		{name: "PAX record without a key", parts: of("5 =p\n"), refused: true},
		{name: "PAX record without anything", parts: of("3 \n"), refused: true},
		{name: "PAX records with a NUL behind", parts: of("10 path=pp\n\x00"), refused: true},
		{name: "PAX records with a line behind", parts: of("10 path=pp\n\n"), refused: true},
		{name: "PAX header of no size", parts: [][]byte{field(rawPAX('x', "path=p"), sizeField, "x")}, refused: true},
		{name: "PAX header of a negative size", parts: [][]byte{field(rawPAX('x', "path=p"), sizeField, base256(-1, 12))}, refused: true},
		{name: "PAX header without records", parts: of("")},
		{name: "PAX header without an entry", parts: [][]byte{tarFile("f", "abc"), rawPAX('x', "path=p"), make([]byte, 2*tarBlock)}, refused: true},
	}
}

func gnuNames() []disagreement {
	f, s := tarFile("f", "abc"), rawHeader('2', "s", 0, "target", "")
	return []disagreement{
		{name: "long name", parts: [][]byte{longName('L', "l\x00"), f}},
		{name: "long name twice", parts: [][]byte{longName('L', "k\x00"), longName('L', "l\x00"), f}},
		{name: "long name without its end", parts: [][]byte{longName('L', "l"), f}},
		{name: "long name with more behind its end", parts: [][]byte{longName('L', "l\x00m\x00"), f}},
		{name: "long name is empty", parts: [][]byte{longName('L', "\x00"), f}, refused: true},
		{name: "long name of no bytes", parts: [][]byte{longName('L', ""), f}, refused: true},
		{name: "long name of a directory", parts: [][]byte{longName('L', "l/\x00"), rawHeader('5', "d", 0, "", "")}},
		{name: "long name of a file with a slash", parts: [][]byte{longName('L', "l/\x00"), f}, refused: true},
		{name: "long name and a prefix", parts: [][]byte{longName('L', "l\x00"), field(f, prefixField, "prefix")}},
		{name: "long name and a long target", parts: [][]byte{longName('L', "l\x00"), longName('K', "k\x00"), s}},
		{name: "long target and a long name", parts: [][]byte{longName('K', "k\x00"), longName('L', "l\x00"), s}},
		{name: "long target", parts: [][]byte{longName('K', "k\x00"), s}},
		{name: "long target of a file", parts: [][]byte{longName('K', "k\x00"), f}},
		{name: "long target of a hard link", parts: [][]byte{tarFile("one", "1"), tarFile("two", "2"), longName('K', "two\x00"), rawHeader('1', "h", 0, "one", "")}},
		{name: "long target is empty", parts: [][]byte{longName('K', "\x00"), s}, refused: true},
		{name: "PAX path and long name", parts: [][]byte{longName('L', "l\x00"), rawPAX('x', "path=p"), f}, refused: true},
		{name: "long name and PAX path", parts: [][]byte{rawPAX('x', "path=p"), longName('L', "l\x00"), f}, refused: true},
		{name: "long name and PAX time", parts: [][]byte{longName('L', "l\x00"), rawPAX('x', "mtime=5"), f}},
		{name: "PAX time and long name", parts: [][]byte{rawPAX('x', "mtime=5"), longName('L', "l\x00"), f}},
		{name: "PAX linkpath and long target", parts: [][]byte{longName('K', "k\x00"), rawPAX('x', "linkpath=p"), s}, refused: true},
		{name: "long target and PAX linkpath", parts: [][]byte{rawPAX('x', "linkpath=p"), longName('K', "k\x00"), s}, refused: true},
		{name: "PAX size and long name", parts: [][]byte{rawPAX('x', "size=512"), longName('L', "l\x00"), rawHeader('0', "f", 0, "", hiddenFile)}},
		{name: "long name without an entry", parts: [][]byte{f, longName('L', "l\x00"), make([]byte, 2*tarBlock)}, refused: true},
	}
}

func ustarNumbers() []disagreement {
	f := tarFile("f", "abc")
	gnu := field(f, magicField, gnuMagic)
	at := func(name string, place int, text string, refused bool) []disagreement {
		return []disagreement{
			{name: name, parts: [][]byte{field(f, place, text)}, refused: refused},
			{name: name + ", GNU", parts: [][]byte{field(gnu, place, text)}, refused: refused},
		}
	}
	return slices.Concat(
		at("owner in base 256", uidField, base256(5, 8), false),
		at("owner of 2^32-2 in base 256", uidField, base256(1<<32-2, 8), false),
		at("owner of 2^32 in base 256", uidField, base256(1<<32, 8), true),
		at("owner of -1 in base 256", gidField, base256(-1, 8), true),
		at("size in base 256", sizeField, base256(3, 12), false),
		at("size of -3 in base 256", sizeField, base256(-3, 12), true),
		at("size of 2^70 in base 256", sizeField, "\x80\x00\x00\x40\x00\x00\x00\x00\x00\x00\x00\x03", true),
		at("time in base 256", timeField, base256(5, 12), false),
		at("time of -1 in base 256", timeField, base256(-1, 12), true),
		at("owner of -1", uidField, "-000001\x00", true),
		at("owner that is not an octal number", uidField, "0000089\x00", true),
		at("owner of spaces", uidField, "        ", false),
		at("owner of zeros", uidField, "\x00\x00\x00\x00\x00\x00\x00\x00", false),
		at("owner with spaces before", uidField, "     5 \x00", false),
		at("owner without an end", uidField, "00000005", false),
		at("owner with a NUL in it", uidField, "05\x0077777", false),
		at("owner with a NUL before", uidField, "\x000000005", true),
		at("size of -3", sizeField, "-0000000003\x00", true),
		at("size with spaces before", sizeField, "          3\x00", false),
		at("size with a NUL before", sizeField, "\x000000000003", true),
		at("size without an end", sizeField, "000000000003", false),
		at("size with a NUL in it", sizeField, "3\x000000000003", false),
		at("size with a space in it", sizeField, "3 0000000003", true),
		at("size with more behind", sizeField, "3x0000000003", true),
		at("size in hexadecimal", sizeField, "0x3\x00\x00\x00\x00\x00\x00\x00\x00\x00", true),
		at("time of -1", timeField, "-0000000001\x00", true),
		at("time of zeros", timeField, strings.Repeat("\x00", 12), false),
	)
}

func ustarNames() []disagreement {
	f := tarFile("f", "abc")
	return []disagreement{
		{name: "prefix", parts: [][]byte{field(f, prefixField, "prefix")}},
		{name: "prefix with a slash behind", parts: [][]byte{field(f, prefixField, "prefix/")}},
		{name: "prefix leads out", parts: [][]byte{field(f, prefixField, "..")}, refused: true},
		{name: "prefix in the GNU format", parts: [][]byte{field(field(f, prefixField, "prefix"), magicField, gnuMagic)}, refused: true},
		{name: "times in the GNU format", parts: [][]byte{field(field(f, prefixField, "00000000005\x0000000000006\x00"), magicField, gnuMagic)}},
		{name: "prefix without a magic", parts: [][]byte{field(field(f, prefixField, "prefix"), magicField, v7Magic)}},
		{name: "prefix of another version", parts: [][]byte{field(field(f, prefixField, "prefix"), magicField, "ustar\x0099")}},
		{name: "prefix with a magic of spaces", parts: [][]byte{field(field(f, prefixField, "prefix"), magicField, "ustar   ")}, refused: true},
		{name: "prefix of star", parts: [][]byte{field(field(f, prefixField, "prefix\x00"), 476, "00000000005\x0000000000006\x00\x00\x00\x00\x00\x00\x00\x00\x00tar\x00")}},
		{name: "name without an end", parts: [][]byte{field(tarFile(strings.Repeat("n", 100), "abc"), prefixField, "prefix")}},
		{name: "name with a NUL in it", parts: [][]byte{tarFile("f\x00g", "abc")}},
		{name: "link target with a NUL in it", parts: [][]byte{rawHeader('2', "s", 0, "f\x00g", "")}},
		{name: "name with a backslash", parts: [][]byte{tarFile(`a\b`, "abc")}},
		{name: "name of bytes", parts: [][]byte{tarFile("\xff\xfe", "abc")}},
		// That is a drive only on Windows, where no layer is unpacked.
		{name: "name with a drive", parts: [][]byte{tarFile("c:/f", "abc")}, unlike: "bsdtar"},
		{name: "absolute name", parts: [][]byte{tarFile("/f", "abc")}},
		{name: "absolute name twice", parts: [][]byte{tarFile("//f", "abc")}},
		{name: "empty name", parts: [][]byte{tarFile("", "abc")}, refused: true},
		{name: "file with a slash", parts: [][]byte{tarFile("f/", "abc")}, refused: true},
		{name: "old file with a slash", parts: [][]byte{rawHeader(0, "d/", 0, "", "")}},
		{name: "old file with a slash and content", parts: [][]byte{rawHeader(0, "d/", 3, "", "abc")}, refused: true},
		{name: "symlink with a slash", parts: [][]byte{rawHeader('2', "s/", 0, "target", "")}},
		{name: "hard link with a slash", parts: [][]byte{f, rawHeader('1', "h/", 0, "f", "")}},
		{name: "hard link to a name with a slash", parts: [][]byte{f, rawHeader('1', "h", 0, "f/", "")}},
		{name: "FIFO with a slash", parts: [][]byte{rawHeader('6', "p/", 0, "", "")}},
		{name: "directory without a slash", parts: [][]byte{rawHeader('5', "d", 0, "", "")}},
		{name: "checksum of signed bytes", parts: [][]byte{signedSum(tarFile("\xff\xfe", "abc"))}},
		{name: "checksum that is wrong", parts: [][]byte{f, append(bytes.Clone(f[:148]), append([]byte("0000000\x00"), f[156:]...)...)}, refused: true},
	}
}

// signedSum gives a header the checksum that old programs made, of signed bytes.
func signedSum(header []byte) []byte {
	copy(header[148:], "        ")
	sum := 0
	for _, b := range header[:tarBlock] {
		sum += int(int8(b))
	}
	copy(header[148:], fmt.Sprintf("%06o\x00 ", sum))
	return header
}

func tarTypes() []disagreement {
	list := []disagreement{
		{name: "old file", parts: [][]byte{rawHeader(0, "f", 3, "", "abc")}},
		{name: "contiguous file", parts: [][]byte{rawHeader('7', "f", 3, "", "abc")}},
		{name: "unknown type", parts: [][]byte{rawHeader('Z', "z", 3, "", "abc")}, refused: true},
		{name: "hard link to a directory", parts: [][]byte{rawHeader('5', "d", 0, "", ""), rawHeader('1', "h", 0, "d", "")}, refused: true},
		{name: "hard link to a symlink", parts: [][]byte{rawHeader('2', "s", 0, "last", ""), rawHeader('1', "h", 0, "s", "")}},
	}
	for _, kind := range "DMNVAE8:" {
		list = append(list, disagreement{name: fmt.Sprintf("type %c", kind), parts: [][]byte{field(rawHeader(byte(kind), "z", 0, "", ""), magicField, gnuMagic)}, refused: true})
	}
	return list
}

// sparseMaps are sparse files in the formats of GNU tar (its manual, "Storing
// Sparse Files").
func sparseMaps() []disagreement {
	number := func(n int) string { return fmt.Sprintf("%011o\x00", n) }
	old := func(real int, regions ...int) []byte {
		text := ""
		for _, n := range regions {
			text += number(n)
		}
		h := field(rawHeader('S', "f", 3, "", "abc"), magicField, gnuMagic)
		return field(field(h, gnuSparse, text), gnuRealSize, number(real))
	}
	pax := func(content string, records ...string) [][]byte {
		return [][]byte{rawPAX('x', records...), rawHeader('0', "f", len(content), "", content)}
	}
	first := func(content, numbers string, records ...string) [][]byte {
		text := numbers + strings.Repeat("\x00", tarBlock-len(numbers)) + content
		return pax(text, append([]string{"GNU.sparse.major=1", "GNU.sparse.minor=0"}, records...)...)
	}
	block := strings.Repeat("x", tarBlock)
	goesOn := [][]byte{
		field(field(old(5120, 0, 512, 1024, 512, 2048, 512, 3072, 512)[:tarBlock], sizeField, number(2560)), gnuExtended, "\x01"),
		[]byte(number(4096) + number(512) + number(5120) + number(0) + strings.Repeat("\x00", tarBlock-48)), []byte(strings.Repeat(block, 5)),
	}
	zero := []string{"GNU.sparse.size=10", "GNU.sparse.numblocks=2", "GNU.sparse.offset=5", "GNU.sparse.numbytes=3", "GNU.sparse.offset=10", "GNU.sparse.numbytes=0"}
	one := []string{"GNU.sparse.size=10", "GNU.sparse.numblocks=2", "GNU.sparse.map=5,3,10,0"}
	return []disagreement{
		{name: "old sparse file", parts: [][]byte{old(10, 5, 3, 10, 0)}},
		// GNU tar forgets the hole at the end of a file unless an empty region follows it, which
		// it always writes; the stated size counts.
		{name: "old sparse file without an end", parts: [][]byte{old(10, 5, 3)}, unlike: "tar"},
		{name: "old sparse file of a smaller size", parts: [][]byte{old(6, 5, 3)}, refused: true},
		{name: "old sparse file that overlaps", parts: [][]byte{old(10, 5, 2, 6, 1)}, refused: true},
		{name: "old sparse file out of order", parts: [][]byte{old(10, 5, 2, 1, 1)}, refused: true},
		{name: "old sparse file with more content than regions", parts: [][]byte{old(10, 5, 1)}, refused: true},
		{name: "old sparse file with less content than regions", parts: [][]byte{old(10, 5, 4)}, refused: true},
		{name: "old sparse file with a map that goes on", parts: goesOn},
		// GNU tar reads each region from a block of its own. It writes only the last one so that
		// it does not fill its blocks, so this cannot be intended.
		{name: "old sparse file with parts of blocks", parts: [][]byte{old(10, 0, 1, 2, 2, 10, 0)}, unlike: "tar"},
		{name: "sparse 0.0", parts: pax("abc", zero...)},
		{name: "sparse 0.0 with a name", parts: pax("abc", append(zero, "GNU.sparse.name=n")...)},
		{name: "sparse 0.0 without numbytes", parts: pax("abc", zero[:3]...), refused: true},
		{name: "sparse 0.0 with too many regions", parts: pax("abc", append(slices.Clone(zero), "GNU.sparse.offset=9", "GNU.sparse.numbytes=0")...), refused: true},
		{name: "sparse 0.1", parts: pax("abc", one...)},
		{name: "sparse 0.1 with a name", parts: pax("abc", append(slices.Clone(one), "GNU.sparse.name=n", "path=p")...)},
		{name: "sparse 0.1 without an end", parts: pax("abc", "GNU.sparse.size=10", "GNU.sparse.numblocks=1", "GNU.sparse.map=5,3"), unlike: "tar"},
		{name: "sparse 0.1 of a smaller size", parts: pax("abc", "GNU.sparse.size=6", "GNU.sparse.numblocks=1", "GNU.sparse.map=5,3"), refused: true},
		{name: "sparse 0.1 with two sizes", parts: pax("abc", append(slices.Clone(one), "GNU.sparse.realsize=12")...), refused: true},
		{name: "sparse 0.1 with too few blocks", parts: pax("abc", "GNU.sparse.size=10", "GNU.sparse.numblocks=1", "GNU.sparse.map=0,1,5,2"), refused: true},
		{name: "sparse 0.1 with an odd map", parts: pax("abc", "GNU.sparse.size=10", "GNU.sparse.numblocks=1", "GNU.sparse.map=5"), refused: true},
		{name: "sparse 1.0", parts: first("abc", "2\n5\n3\n10\n0\n", "GNU.sparse.name=n", "GNU.sparse.realsize=10")},
		{name: "sparse 1.0 with a path", parts: first("abc", "2\n5\n3\n10\n0\n", "GNU.sparse.name=n", "GNU.sparse.realsize=10", "path=p")},
		{name: "sparse 1.0 without a name", parts: first("abc", "2\n5\n3\n10\n0\n", "GNU.sparse.realsize=10")},
		{name: "sparse 1.0 without a size", parts: first("abc", "1\n5\n3\n", "GNU.sparse.name=n"), refused: true},
		{name: "sparse 1.0 with too few numbers", parts: first("abc", "2\n5\n3\n", "GNU.sparse.name=n", "GNU.sparse.realsize=10"), refused: true},
		{name: "sparse 1.0 with a sign", parts: first("abc", "1\n-5\n3\n", "GNU.sparse.name=n", "GNU.sparse.realsize=10"), refused: true},
		{name: "sparse 1.0 with a million regions", parts: first("abc", "1000000\n5\n3\n", "GNU.sparse.name=n", "GNU.sparse.realsize=10"), refused: true},
		{name: "sparse 2.0", parts: pax("abc", "GNU.sparse.major=2", "GNU.sparse.minor=0", "GNU.sparse.realsize=10"), refused: true},
		{name: "sparse directory", parts: [][]byte{rawPAX('x', one...), rawHeader('5', "d", 0, "", "")}, refused: true},
		{name: "sparse hard link", parts: [][]byte{tarFile("f", "abc"), rawPAX('x', one...), rawHeader('1', "h", 0, "f", "")}, refused: true},
	}
}
