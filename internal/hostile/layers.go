package hostile

import (
	"fmt"
	"slices"
	"strings"
)

// Layers holds the tars of a stack of layers, the lowest first.
type Layers struct {
	Name string
	Tars [][]byte
	// Refused is what the error for them has to contain; nil means layers that are
	// accepted.
	Refused []string
	// Tree is the tree that accepted layers show: a line for each path except the
	// root, with its type as in ls, and a file's content or a link's target.
	Tree string
}

// LayerCases returns layers that lead out of the tree, contradict themselves or
// contain what no file system can have.
func LayerCases() []Layers {
	var all []Layers
	for _, group := range [][]Layers{
		layerNames(), layerLinks(), layerWhiteouts(), layerSpecials(), layerAttributes(), layerTwoWays(), layerDamage(), layerFlips(),
	} {
		all = append(all, group...)
	}
	return all
}

// taken returns a stack of layers that is accepted.
func taken(name, tree string, layers ...[]byte) Layers {
	return Layers{Name: name, Tars: layers, Tree: strings.TrimPrefix(tree, "\n")}
}

// refused returns a single layer that is refused.
func refused(name string, entries []Entry, texts ...string) Layers {
	return Layers{Name: name, Tars: [][]byte{Tar(entries...)}, Refused: texts}
}

func one(e ...Entry) []Entry { return e }

func layerNames() []Layers {
	return []Layers{
		taken("names in many ways", `
d a
d a/b
- a/b/c "3"
- abs "1"
- dot "2"
`, Tar(File("/abs", "1"), File("./dot", "2"), File("a//b/./c", "3"))),
		taken("the root in many ways", "- f \"\"\n", Tar(Dir("./"), Dir("/"), Dir("."), File("f", ""))),
		taken("names of bytes", "- \"\\xff\\x1b[31m\" \"\"\n", Tar(File("\xff\x1b[31m", ""))),
		refused("name leads out", one(File("../canary/file", "x")), `entry "../canary/file"`, `".."`),
		refused("name leads out later", one(File("a/../../canary/file", "x")), `entry "a/../../canary/file"`, `".."`),
		refused("name is ..", one(Dir("..")), `entry ".."`),
		refused("name with escapes", one(File("\x1b]0;title\a/../..", "")), `\x1b]0;title\a`),
		refused("name with a line", one(File("../\nvarve: forged", "")), `../\nvarve: forged`),
		refused("empty name", one(File("", "x")), `entry ""`, "empty"),
		refused("name of 256 bytes", one(File(strings.Repeat("n", 256), "")), `entry "nnnn`, "at most 255"),
		refused("path of 5000 bytes", one(File(strings.Repeat("dddddddd/", 560)+"f", "")), `entry "dddd`, "at most 4095"),
		refused("depth 5000", one(File(strings.Repeat("d/", 5000)+"f", "")), `entry "d/d/`, "at most 4095"),
		refused("name of 900 KiB", one(File(strings.Repeat("\x1b", 900<<10), "")), `entry "\x1b`, "at most 4095"),
		refused("20 long names that lead out", slices.Repeat(one(File("../"+strings.Repeat("\x1b", 3000), "")), 30), `entry "../\x1b`, `".."`, "10 more"),
		refused("NUL in a PAX name", one(Entry{Name: "f", PAX: []string{"path=a\x00b"}}), "invalid tar header"),
		refused("root is a symlink", one(Symlink("./", "/etc")), `entry "./"`, "root"),
		refused("file with a slash", one(Entry{Name: "f/", Type: '0', Content: "x"}), `entry "f/"`, "slash"),
	}
}

func layerLinks() []Layers {
	outside := "../../../../../../../../canary"
	return []Layers{
		taken("through a relative symlink", `
d canary
- canary/file "x"
l l -> `+outside+`
`, Tar(Symlink("l", outside), File("l/file", "x"))),
		taken("through an absolute symlink", `
d etc
- etc/passwd "x"
l l -> /etc
`, Tar(Symlink("l", "/etc"), File("l/passwd", "x"))),
		taken("through a chain of symlinks", `
l a -> b/
l b -> /c/..
l c -> .
- file "x"
`, Tar(Symlink("c", "."), Symlink("b", "/c/.."), Symlink("a", "b/"), File("a/file", "x"))),
		taken("through a symlink and a dot", `
d canary
- canary/file "x"
l l -> `+outside+`/.
`, Tar(Symlink("l", outside+"/."), File("l/./file", "x"))),
		taken("over a symlink of a lower layer", `
d l
- l/file "x"
`, Tar(Symlink("l", outside)), Tar(File("l/file", "x"))),
		taken("symlinks are kept as they are", `
l a -> ../../../../etc/passwd
l b -> /etc/passwd
l c -> c
`, Tar(Symlink("a", "../../../../etc/passwd"), Symlink("b", "/etc/passwd"), Symlink("c", "c"))),
		refused("below a symlink in a circle", one(Symlink("a", "b"), Symlink("b", "a"), File("a/x", "")), `entry "a/x"`, "40 symlinks"),
		refused("below a symlink to a file", one(File("f", ""), Symlink("l", "f"), File("l/x", "")), `entry "l/x"`, `"f"`),
		refused("hard link leads out", one(HardLink("h", "../canary/file")), `entry "h"`, `"../canary/file"`),
		refused("hard link to an absolute path", one(HardLink("h", "/etc/passwd")), `entry "h"`, "etc/passwd"),
		refused("hard link through a symlink", one(Symlink("l", "/etc"), HardLink("h", "l/passwd")), `entry "h"`, `"l/passwd"`),
		refused("hard link to what is not there", one(HardLink("h", "missing")), `entry "h"`, `"missing"`),
		refused("hard link to what comes later", one(HardLink("h", "f"), File("f", "")), `entry "h"`, `"f"`),
		refused("hard link to a directory", one(Dir("d"), HardLink("h", "d")), `entry "h"`, `"d"`, "directory"),
		refused("hard link to itself", one(HardLink("h", "./h")), `entry "h"`, "itself"),
		refused("hard link to a name of 900 KiB", one(HardLink("h", strings.Repeat("\x1b", 900<<10))), `entry "h"`, "at most 4095"),
		refused("symlink to a name of 900 KiB", one(Symlink("l", strings.Repeat("\x1b", 900<<10))), `entry "l"`, "1 to 4095"),
		refused("below long symlinks", slices.Repeat(one(Symlink("l", strings.Repeat("\x1b/", 2000)), File("l/"+strings.Repeat("\x1b/", 1000)+"x", "")), 30), `entry "l/\x1b`),
		refused("hard link to nothing", one(HardLink("h", "")), `entry "h"`, "empty"),
		{Name: "hard link through a symlink of a lower layer", Tars: [][]byte{Tar(Symlink("l", "d"), File("d/f", "")), Tar(HardLink("h", "l/f"))},
			Refused: []string{`entry "h"`, `"l/f"`, "symlink"}},
		refused("symlink to nothing", one(Symlink("l", "")), `entry "l"`, "target"),
	}
}

func layerWhiteouts() []Layers {
	lower := Tar(File("a/x", "1"), File("a/y", "2"), Symlink("l", "a"), File("f", "3"))
	above := func(name string, entries []Entry, texts ...string) Layers {
		return Layers{Name: name, Tars: [][]byte{lower, Tar(entries...)}, Refused: texts}
	}
	return []Layers{
		taken("whiteouts in any order", `
d a
- a/y "new"
- a/z "4"
l l -> a
`, lower, Tar(File("a/z", "4"), File("a/.wh..wh..opq", ""), File("a/y", "new"), File("a/.wh.y", ""), File(".wh.f", ""))),
		above("whiteout of nothing", one(File(".wh.", "")), `entry ".wh."`),
		above("whiteout of .", one(File("a/.wh..", "")), `entry "a/.wh.."`),
		above("whiteout of ..", one(File("a/.wh...", "")), `entry "a/.wh..."`),
		above("whiteout of a whiteout", one(File("a/.wh..wh.x", "")), `entry "a/.wh..wh.x"`),
		above("below a whiteout", one(File(".wh.a/x", "")), `entry ".wh.a/x"`),
		above("whiteout leads out", one(File("../.wh.canary", "")), `entry "../.wh.canary"`),
		above("whiteout through a symlink", one(Symlink("m", "a"), File("m/.wh.x", "")), `whiteouts below "m"`, "symlink"),
		above("whiteout through a symlink of a lower layer", one(File("l/.wh.x", "")), `"l"`, "symlink"),
		above("opaque through a symlink of a lower layer", one(File("l/.wh..wh..opq", "")), `"l"`, "symlink"),
		taken("whiteout below a file of a lower layer", "d a\n- a/x \"1\"\n- a/y \"2\"\n- f \"3\"\nl l -> a\n", lower, Tar(File("f/.wh.x", ""), File("f/d/.wh..wh..opq", ""))),
		taken("whiteout below what becomes a symlink", "l a -> canary\n- f \"3\"\nl l -> a\n", lower, Tar(File("a/.wh.x", ""), Symlink("a", "canary"))),
		above("whiteout below what was a file", one(File("a", ""), File("a/.wh.x", "")), `whiteouts below "a"`, "regular file"),
		above("whiteout of overlay file systems", one(Entry{Name: "f", Type: '3'}), `entry "f"`, "0:0"),
	}
}

func layerSpecials() []Layers {
	return []Layers{
		taken("devices are entries", `
b disk 8,0
c null 1,3
p pipe
`, Tar(Entry{Name: "null", Type: '3', Major: 1, Minor: 3}, Entry{Name: "disk", Type: '4', Major: 8}, Entry{Name: "pipe", Type: '6'})),
		taken("system directories as links and pipes", `
p dev
l etc -> /etc
l proc -> /proc
l tmp -> /canary
`, Tar(Entry{Name: "dev", Type: '6'}, Symlink("etc", "/etc"), Symlink("proc", "/proc"), Symlink("tmp", "/canary"))),
		refused("device number", one(Entry{Name: "c", Type: '3', Major: 1 << 40, Minor: 1}), `entry "c"`, "device number"),
		refused("socket", one(Entry{Name: "s", Type: 's'}), `entry "s"`, "type"),
		refused("unknown type", one(Entry{Name: "z", Type: 'Z'}), `entry "z"`, "type"),
	}
}

func layerAttributes() []Layers {
	xattr := func(name, value string) Entry {
		return Entry{Name: "f", PAX: []string{"SCHILY.xattr." + name + "=" + value}}
	}
	capability := "\x01\x00\x00\x02" + strings.Repeat("\x00", 16)
	return []Layers{
		taken("labels of a host are left out", "- f \"\"\n", Tar(xattr("security.selinux", "system_u:object_r:bin_t:s0"))),
		refused("uid -1", one(Entry{Name: "f", UID: -1}), `entry "f"`, "owner -1:0"),
		refused("uid 2^32", one(Entry{Name: "f", UID: 1 << 32}), `entry "f"`, "owner 4294967296:0"),
		refused("gid 2^32-1", one(Entry{Name: "f", GID: 1<<32 - 1}), `entry "f"`, "owner 0:4294967295"),
		refused("uid 2^64-1 in PAX", one(Entry{Name: "f", PAX: []string{"uid=18446744073709551615"}}), "invalid tar header"),
		taken("a hard link has the attributes of its target", "- f \"\"\n- h \"\"\n", Tar(File("f", ""), Entry{Name: "h", Type: '1', Link: "f", UID: -1})),
		refused("trusted.overlay", one(xattr("trusted.overlay.redirect", "/etc")), `entry "f"`, "trusted.overlay."),
		refused("user.overlay", one(xattr("user.overlay.opaque", "y")), `entry "f"`, "user.overlay."),
		refused("capability cut short", one(xattr("security.capability", capability[:7])), `entry "f"`, "security.capability"),
		refused("capability of an unknown version", one(xattr("security.capability", "\x00\x00\x00\x09"+capability[4:])), `entry "f"`, "security.capability"),
		refused("capability of a directory", one(Entry{Name: "d", Type: '5', PAX: []string{"SCHILY.xattr.security.capability=" + capability}}), `entry "d"`, "capabilit"),
		taken("time before 1970", "- f \"\"\n", Tar(Entry{Name: "f", ModTime: -1})),
		taken("time after 9999", "- f \"\"\n", Tar(Entry{Name: "f", ModTime: 253402300800})),
		taken("time in PAX before 1970", "- f \"\"\n", Tar(Entry{Name: "f", PAX: []string{"mtime=-1"}})),
		refused("time in PAX of 2^63", one(Entry{Name: "f", PAX: []string{"mtime=9223372036854775808"}}), "invalid tar header"),
		refused("attributes of 2 MiB", one(xattr("user.x", strings.Repeat("x", 2<<20))), "header field too long"),
	}
}

// layerTwoWays returns layers that say something in two ways, on which readers of
// tars disagree.
func layerTwoWays() []Layers {
	hidden := string(File("hidden", "").header())
	return []Layers{
		taken("PAX size counts", "- f \"abc\"\n", Tar(Entry{Name: "f", Content: "abc", Size: -1, PAX: []string{"size=3"}})),
		refused("directory with content", one(Entry{Name: "d", Type: '5', Content: hidden}), `entry "d"`, "size"),
		refused("symlink with content", one(Entry{Name: "l", Type: '2', Link: "x", Content: hidden}), `entry "l"`, "size"),
		refused("hard link with content", one(File("f", ""), Entry{Name: "h", Type: '1', Link: "f", Content: hidden}), `entry "h"`, "size"),
		refused("directory with a PAX size", one(Entry{Name: "d", Type: '5', Content: hidden, Size: -1, PAX: []string{"size=512"}}), `entry "d"`, "size"),
		refused("negative size", one(Entry{Name: "f", Content: hidden, Size: -512}), "invalid tar header"),
		refused("negative PAX size", one(Entry{Name: "f", Content: "abc", PAX: []string{"size=-1"}}), "invalid tar header"),
		refused("empty PAX size", one(Entry{Name: "f", Content: "abc", PAX: []string{"size="}}), `"size"`, "empty"),
		refused("enormous size", one(Entry{Name: "f", Content: "abc", Size: 1 << 62}), `entry "f"`),
		{Name: "global record of a long name", Tars: [][]byte{append(PAX('g', "SCHILY.xattr."+strings.Repeat("\x1b", 900<<10)+"=x"), Tar(File("f", ""))...)}, Refused: []string{"global"}},
		{Name: "two long names", Tars: [][]byte{append(PAX('x', "path="+strings.Repeat("p", 900<<10)), Tar(File(strings.Repeat("n", 200), ""))...)}, Refused: []string{`entry "nnnn`}},
		{Name: "global path", Tars: [][]byte{append(PAX('g', "path=evil"), Tar(File("f", ""))...)}, Refused: []string{"global", `"path"`}},
		{Name: "PAX record of a wrong length", Tars: [][]byte{append(Member('x', "h", "", "99 path=x\n"), Tar(File("f", ""))...)}, Refused: []string{"invalid tar header"}},
		{Name: "PAX header of 2 MiB", Tars: [][]byte{append(PAX('x', "comment="+strings.Repeat("x", 2<<20)), Tar(File("f", ""))...)}, Refused: []string{"header field too long"}},
		{Name: "long name of 2 MiB", Tars: [][]byte{Tar(File(strings.Repeat("n", 2<<20), ""))}, Refused: []string{"header field too long"}},
		{Name: "a million sparse regions", Tars: [][]byte{SparseRegions(1_000_000)}, Refused: []string{"sparse map too long"}},
		refused("sparse map with an end before its start", one(sparse("0,512,-1,1")), "invalid tar header"),
		refused("sparse map that overlaps", one(sparse("0,2,1,2")), "invalid tar header"),
		refused("sparse map beyond the file", one(sparse("0,1,100,3")), "invalid tar header"),
	}
}

// sparse returns a sparse file of four bytes in GNU's PAX format 0.1 with the map.
func sparse(regions string) Entry {
	return Entry{Name: "f", Content: "data", PAX: []string{
		"GNU.sparse.size=4", fmt.Sprintf("GNU.sparse.numblocks=%d", (strings.Count(regions, ",")+1)/2), "GNU.sparse.map=" + regions}}
}

func layerDamage() []Layers {
	first, both := "- a \""+thousand+"\"\n", "- a \""+thousand+"\"\n- b \"y\"\n"
	whole := Tar(File("a", thousand), File("b", "y"))
	flipped := append([]byte{}, whole...)
	flipped[block+1024+3] ^= 1
	damaged := func(name string, data []byte, texts ...string) Layers {
		return Layers{Name: name, Tars: [][]byte{data}, Refused: texts}
	}
	return []Layers{
		taken("empty", "", nil),
		damaged("garbage", []byte(strings.Repeat("garbage ", 500)), "not a tar"),
		damaged("cut in a file", whole[:700], `entry "a"`, "EOF"),
		taken("cut between entries", first, whole[:block+1024]),
		damaged("cut in a header", whole[:block+1024+100], `entry "a"`, "EOF"),
		taken("without an end", both, whole[:len(whole)-2*block]),
		taken("without an end or padding", both, whole[:len(whole)-3*block+1]),
		taken("half an end", both, whole[:len(whole)-block]),
		damaged("a quarter of an end", whole[:len(whole)-block-block/2], `entry "b"`, "EOF"),
		taken("nothing but an end", "", whole[len(whole)-2*block:]),
		damaged("wrong checksum", flipped, `entry "a"`, "invalid tar header"),
		taken("bytes after the end", both, append(append([]byte{}, whole...), "more"...)),
		taken("another tar after the end", both, append(append([]byte{}, whole...), Tar(File("c", ""))...)),
		damaged("an entry after half an end", append(append([]byte{}, whole[:len(whole)-block]...), whole...), `entry "b"`, "invalid tar header"),
	}
}

// thousand is the content of two blocks.
var thousand = strings.Repeat("x", 1024)

func layerFlips() []Layers {
	return []Layers{
		taken("directory, file and back", "d d\n- d/y \"\"\n", Tar(File("d/x", "")), Tar(File("d", "file")), Tar(File("d/y", ""))),
		taken("file, then directory, in one layer", "d a\n", Tar(File("a", ""), Dir("a"))),
		taken("directory, then file, in one layer", "- a \"file\"\n", Tar(File("a/x", ""), File("a", "file"))),
		taken("the same thing twice", "- a \"2\"\n", Tar(File("a", "1"), File("./a", "2"))),
		refused("file below a file", one(File("a", ""), File("a/b", "")), `entry "a/b"`, `"a"`),
	}
}
