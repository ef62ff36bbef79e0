package hostile

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

// Archive is a docker-archive, or the archive of an OCI layout.
type Archive struct {
	Name string
	Data []byte
	// Mismatch says that the fault is a wrong digest.
	Mismatch bool
	// Refused is what the error has to contain; nil means an archive that is
	// accepted, with the layers of Image.
	Refused []string
}

// Image returns the layers of the image in archives and layouts that are accepted:
// two layers, the first of which occurs again as the third.
func Image() [][]byte {
	base := Tar(Dir("etc"), File("etc/motd", "hello\n"))
	return [][]byte{base, Tar(File("tool", strings.Repeat("tool", 1000))), base}
}

// Digest returns a SHA-256 digest in the form used in images.
func Digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

// Gzip compresses.
func Gzip(data []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // a level that exists
	_, _ = w.Write(data)                            // a buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

// Config returns the config of an image with the layers.
func Config(layers ...[]byte) string {
	ids := make([]string, len(layers))
	for i, l := range layers {
		ids[i] = fmt.Sprintf("%q", Digest(l))
	}
	return `{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[` + strings.Join(ids, ",") + `]}}`
}

// DockerArchive returns the members of a docker-archive of the image hello:1, in
// the usual order: layers, called l0/layer.tar and so on, c.json, manifest.json.
func DockerArchive(layers ...[]byte) []Entry {
	var entries []Entry
	names := make([]string, len(layers))
	for i, l := range layers {
		name := fmt.Sprintf("l%d/layer.tar", i)
		names[i] = fmt.Sprintf("%q", name)
		entries = append(entries, File(name, string(l)))
	}
	return append(entries, File("c.json", Config(layers...)), File("manifest.json",
		`[{"Config":"c.json","RepoTags":["hello:1"],"Layers":[`+strings.Join(names, ",")+`]}]`))
}

// with returns DockerArchive of Image with a member changed.
func with(name string, change func(*Entry)) []Entry {
	entries := DockerArchive(Image()...)
	for i := range entries {
		if entries[i].Name == name {
			change(&entries[i])
		}
	}
	return entries
}

func replaced(name, content string) []byte {
	return Tar(with(name, func(e *Entry) { e.Content = content })...)
}

// edited replaces a text in a member.
func edited(name, old, new string) []byte {
	return Tar(with(name, func(e *Entry) {
		if !strings.Contains(e.Content, old) {
			panic(fmt.Sprintf("%s has no %q", name, old))
		}
		e.Content = strings.Replace(e.Content, old, new, 1)
	})...)
}

// linked replaces the third layer, which repeats the first, with a link.
func linked(kind byte, target string) []byte {
	return Tar(with("l2/layer.tar", func(e *Entry) { *e = Entry{Name: e.Name, Type: kind, Link: target} })...)
}

// ArchiveCases returns the cases of docker-archives.
func ArchiveCases() []Archive {
	return slices.Concat(archivesTaken(), archivesDamaged(), archiveMembers(), archiveJSON())
}

func archivesTaken() []Archive {
	whole := Tar(DockerArchive(Image()...)...)
	reversed := DockerArchive(Image()...)
	slices.Reverse(reversed)
	return []Archive{
		{Name: "whole", Data: whole},
		{Name: "gzip", Data: Gzip(whole)},
		{Name: "any order", Data: Tar(reversed...)},
		{Name: "zeros after the end", Data: append(slices.Clone(whole), make([]byte, 10240)...)},
		{Name: "symlinked layer", Data: linked('2', "../l0/layer.tar")},
		{Name: "hard linked layer", Data: linked('1', "l0/layer.tar")},
		{Name: "repeated layer", Data: edited("manifest.json", "l2/layer.tar", "l0/layer.tar")},
		{Name: "repeated members", Data: Tar(append([]Entry{Dir("l0/"), File("l0/layer.tar", string(Image()[0]))}, DockerArchive(Image()...)...)...)},
		{Name: "names with a dot", Data: Tar(with("c.json", func(e *Entry) { e.Name = "./c.json" })...)},
		{Name: "compressed layer", Data: Tar(with("l1/layer.tar", func(e *Entry) { e.Content = string(Gzip([]byte(e.Content))) })...)},
		{Name: "sparse header on a member that is not needed", Data: Tar(append(DockerArchive(Image()...), sparse("0,4"))...)},
	}
}

func archivesDamaged() []Archive {
	entries := DockerArchive(Image()...)
	whole := Tar(entries...)
	zipped := Gzip(whole)
	return []Archive{
		{Name: "empty", Data: nil, Refused: []string{"empty"}},
		{Name: "garbage", Data: []byte(strings.Repeat("garbage ", 500)), Refused: []string{"invalid tar header"}},
		{Name: "empty gzip", Data: Gzip(nil), Refused: []string{"empty"}},
		{Name: "window of 2 GiB", Data: Window2GiB(), Refused: []string{"zstd", "window"}},
		{Name: "cut in a header", Data: whole[:300], Refused: []string{"EOF"}},
		{Name: "cut in a layer", Data: whole[:2*block], Refused: []string{"EOF"}},
		{Name: "cut after a member", Data: Cut(entries[:2]...), Refused: []string{"cut short"}},
		{Name: "cut before its end", Data: Cut(entries...), Refused: []string{"cut short"}},
		{Name: "cut in its end", Data: whole[:len(whole)-block], Refused: []string{"cut short"}},
		{Name: "gzip cut", Data: zipped[:len(zipped)/2], Refused: []string{"gzip", "EOF"}},
		{Name: "gzip with a wrong checksum", Data: flip(zipped, len(zipped)-6), Refused: []string{"gzip", "checksum"}},
		{Name: "bytes after the end", Data: append(slices.Clone(whole), 'x'), Refused: []string{"more follows"}},
		{Name: "another archive after the end", Data: append(slices.Clone(whole), whole...), Refused: []string{"more follows"}},
		{Name: "bytes after gzip", Data: append(slices.Clone(zipped), "more"...), Refused: []string{"gzip"}},
		{Name: "wrong checksum", Data: flip(whole, len(whole)-3*block-20), Refused: []string{"invalid tar header"}},
	}
}

func flip(data []byte, at int) []byte {
	data = slices.Clone(data)
	data[at] ^= 1
	return data
}

func archiveMembers() []Archive {
	without := func(name string) []byte {
		return Tar(slices.DeleteFunc(DockerArchive(Image()...), func(e Entry) bool { return e.Name == name })...)
	}
	add := func(e ...Entry) []byte { return Tar(append(DockerArchive(Image()...), e...)...) }
	kind := func(name string, e Entry) []byte {
		return Tar(with(name, func(to *Entry) { e.Name = name; *to = e })...)
	}
	owner := Cut(Entry{Name: "d", Type: '5', PAX: []string{"uname=" + strings.Repeat("u", 900<<10)}})
	many := make([]Entry, 100_001)
	for i := range many {
		many[i] = Dir(fmt.Sprintf("d%d", i))
	}
	return []Archive{
		{Name: "no manifest", Data: without("manifest.json"), Refused: []string{"manifest.json"}},
		{Name: "two manifests", Data: add(File("manifest.json", "[]")), Refused: []string{"two different members", `"manifest.json"`}},
		{Name: "two manifests by two names", Data: add(File("./x/../manifest.json", "[]")), Refused: []string{"two different members", `"manifest.json"`}},
		{Name: "manifest and a link of its name", Data: add(Symlink("manifest.json", "c.json")), Refused: []string{"two different members", `"manifest.json"`}},
		{Name: "two configs", Data: add(File("./c.json", "{}")), Refused: []string{"two different members", `"c.json"`}},
		{Name: "two layers of a name", Data: add(File("l0/layer.tar", "x")), Refused: []string{"two different members", `"l0/layer.tar"`}},
		{Name: "manifest is a directory", Data: kind("manifest.json", Dir("")), Refused: []string{`"manifest.json"`, "not a regular file"}},
		{Name: "manifest is a FIFO", Data: kind("manifest.json", Entry{Type: '6'}), Refused: []string{`"manifest.json"`, "not a regular file"}},
		{Name: "layer is a device", Data: kind("l0/layer.tar", Entry{Type: '3', Major: 1, Minor: 5}), Refused: []string{`"l0/layer.tar"`, "not a regular file"}},
		{Name: "layer is sparse", Data: kind("l0/layer.tar", Entry{Content: "data", PAX: sparse("0,4").PAX}), Refused: []string{`"l0/layer.tar"`, "not a regular file"}},
		{Name: "global name of members", Data: append(PAX('g', "path=manifest.json"), Tar(DockerArchive(Image()...)...)...), Refused: []string{"global", `"path"`}},
		{Name: "member of two names", Data: append(PAX('x', "path=c.json"), Tar(append([]Entry{File(strings.Repeat("n", 200), "{}")}, DockerArchive(Image()...)...)...)...), Refused: []string{"two names", `"c.json"`}},
		{Name: "global comment", Data: append(PAX('g', "comment=x"), Tar(DockerArchive(Image()...)...)...)},
		{Name: "layer is missing", Data: without("l1/layer.tar"), Refused: []string{`"l1/layer.tar"`, "does not exist"}},
		{Name: "config is missing", Data: without("c.json"), Refused: []string{`"c.json"`, "does not exist"}},
		{Name: "layer is a link that leads out", Data: linked('2', "../../canary/file"), Refused: []string{`"l2/layer.tar"`, "leads out"}},
		{Name: "layer is an absolute link", Data: linked('2', "/etc/passwd"), Refused: []string{`"l2/layer.tar"`, "leads out"}},
		{Name: "layer is a hard link that leads out", Data: linked('1', "../canary/file"), Refused: []string{`"l2/layer.tar"`, "leads out"}},
		{Name: "layer is a link to itself", Data: linked('2', "layer.tar"), Refused: []string{`"l2/layer.tar"`, "too many links"}},
		{Name: "layer is a link to nothing", Data: linked('2', "../l9/layer.tar"), Refused: []string{`"l2/layer.tar"`, "does not exist"}},
		{Name: "name of 900 KiB", Data: Gzip(add(File(strings.Repeat("\x1b", 900<<10), ""))), Refused: []string{"a name has 921600 bytes"}},
		{Name: "owners' names of 100 MiB", Data: Bomb(Cut(DockerArchive(Image()...)...), owner, 100, make([]byte, 2*block)), Refused: []string{"names have together more than"}},
		{Name: "100001 members", Data: Gzip(Tar(many...)), Refused: []string{"more than 100000 members"}},
		{Name: "manifest of 9 MiB", Data: replaced("manifest.json", strings.Repeat(" ", 9<<20)), Refused: []string{`"manifest.json"`, "more than 8388608"}},
		{Name: "config of 9 MiB", Data: replaced("c.json", strings.Repeat(" ", 9<<20)), Refused: []string{`"c.json"`, "more than 8388608"}},
	}
}

func archiveJSON() []Archive {
	layers := Image()
	ids := func(layers ...[]byte) []byte { return replaced("c.json", Config(layers...)) }
	return []Archive{
		{Name: "manifest is empty", Data: replaced("manifest.json", ""), Refused: []string{"manifest.json", "EOF"}},
		{Name: "manifest of no image", Data: replaced("manifest.json", "[]"), Refused: []string{"manifest.json", "at least one image"}},
		{Name: "manifest is an object", Data: replaced("manifest.json", "{}"), Refused: []string{"manifest.json", "list"}},
		{Name: "manifest is deep", Data: replaced("manifest.json", strings.Repeat("[", 100_000)), Refused: []string{"manifest.json", "nested deeper"}},
		{Name: "two values", Data: replaced("manifest.json", "[] []"), Refused: []string{"manifest.json", "more after"}},
		{Name: "Layers and layers", Data: edited("manifest.json", `"Layers"`, `"layers":[],"Layers"`), Refused: []string{"image 0", `"layers"`, `"Layers"`}},
		{Name: "Layers twice", Data: edited("manifest.json", `"Layers"`, `"Layers":[],"Layers"`), Refused: []string{`"Layers"`, "twice"}},
		{Name: "Config is a number", Data: edited("manifest.json", `"c.json"`, `1`), Refused: []string{"image 0", "Config"}},
		{Name: "no Config", Data: edited("manifest.json", `"Config":"c.json",`, ``), Refused: []string{"image 0", "Config"}},
		{Name: "Config leads out", Data: edited("manifest.json", `"c.json"`, `"../canary/file"`), Refused: []string{`"../canary/file"`, "leads out"}},
		{Name: "Config is absolute", Data: edited("manifest.json", `"c.json"`, `"/etc/passwd"`), Refused: []string{`"/etc/passwd"`, "leads out"}},
		{Name: "layer leads out", Data: edited("manifest.json", `l1/layer.tar`, `l1/../../canary/file`), Refused: []string{`"l1/../../canary/file"`, "leads out"}},
		{Name: "layer is absolute", Data: edited("manifest.json", `l1/layer.tar`, `/etc/passwd`), Refused: []string{`"/etc/passwd"`, "leads out"}},
		{Name: "layer with escapes", Data: edited("manifest.json", `l1/layer.tar`, `\u001b[2J`), Refused: []string{`"\x1b[2J"`, "does not exist"}},
		{Name: "config is not JSON", Data: replaced("c.json", "<html>"), Refused: []string{`"c.json"`}},
		{Name: "config without rootfs", Data: replaced("c.json", "{}"), Refused: []string{`"c.json"`, "rootfs"}},
		{Name: "rootfs and Rootfs", Data: edited("c.json", `"rootfs"`, `"Rootfs":{},"rootfs"`), Refused: []string{`"c.json"`, `"Rootfs"`}},
		{Name: "diff_ids twice", Data: edited("c.json", `"diff_ids"`, `"diff_ids":[],"diff_ids"`), Refused: []string{`"c.json"`, `"diff_ids"`, "twice"}},
		{Name: "too few diff_ids", Data: ids(layers[:2]...), Refused: []string{`"c.json"`, "2 diff_ids for 3 layers"}},
		{Name: "too many diff_ids", Data: ids(append(layers, layers...)...), Refused: []string{`"c.json"`, "6 diff_ids for 3 layers"}},
		{Name: "another diff_id", Data: ids(layers[0], layers[0], layers[2]), Mismatch: true, Refused: []string{`"l1/layer.tar"`, Digest(layers[0]), Digest(layers[1])}},
		{Name: "diff_id leads out", Data: edited("c.json", Digest(layers[1]), "sha256:../../canary"), Refused: []string{"diff_ids[1]", `"sha256:../../canary"`}},
		{Name: "diff_id in upper case", Data: edited("c.json", Digest(layers[1]), strings.ToUpper(Digest(layers[1]))), Refused: []string{"diff_ids[1]"}},
		{Name: "diff_id of another algorithm", Data: edited("c.json", Digest(layers[1]), "md5:d41d8cd98f00b204e9800998ecf8427e"), Refused: []string{"diff_ids[1]"}},
		{Name: "bytes after a layer", Data: Tar(with("l1/layer.tar", func(e *Entry) { e.Content += "more" })...), Mismatch: true, Refused: []string{`"l1/layer.tar"`}},
		{Name: "compressed layer cut short", Data: Tar(with("l1/layer.tar", func(e *Entry) { z := Gzip([]byte(e.Content)); e.Content = string(z[:len(z)/2]) })...), Refused: []string{`"l1/layer.tar"`, "gzip"}},
		{Name: "compressed layer with a wrong checksum", Data: Tar(with("l1/layer.tar", func(e *Entry) { z := Gzip([]byte(e.Content)); e.Content = string(flip(z, len(z)-6)) })...), Refused: []string{`"l1/layer.tar"`, "gzip", "checksum"}},
		{Name: "bytes after a compressed layer", Data: Tar(with("l1/layer.tar", func(e *Entry) { e.Content = string(Gzip([]byte(e.Content))) + "more" })...), Refused: []string{`"l1/layer.tar"`, "gzip"}},
	}
}
