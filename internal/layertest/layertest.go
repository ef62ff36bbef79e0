// Package layertest makes layers with everything that layers can express, to
// compare how varve and other programs read them.
//
// Only tests import this package.
package layertest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Capability is cap_net_raw=ep in the form of security.capability
// (include/uapi/linux/capability.h, vfs_cap_data of revision 2).
const Capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// Entry is an entry of a layer with its content.
type Entry struct {
	tar.Header
	Text string
}

// File returns a regular file.
func File(name, text string) Entry {
	return Entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, text}
}

// Dir returns a directory with a mode, whose user and group are the same.
func Dir(name string, mode int64, id int) Entry {
	return Entry{tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: mode, Uid: id, Gid: id}, ""}
}

// Link returns a symlink.
func Link(name, target string) Entry {
	return Entry{tar.Header{Name: name, Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: target}, ""}
}

// Hard returns a hard link.
func Hard(name, target string) Entry {
	return Entry{tar.Header{Name: name, Typeflag: tar.TypeLink, Mode: 0o644, Linkname: target}, ""}
}

// Whiteout returns an empty file, whose name has to say what it deletes.
func Whiteout(name string) Entry {
	return Entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600}, ""}
}

// Tar makes a tar. Entries without a time get second 1.
func Tar(entries ...Entry) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.Header
		h.Size = int64(len(e.Text))
		if h.ModTime.IsZero() {
			h.ModTime = time.Unix(1, 0)
		}
		if err := w.WriteHeader(&h); err != nil {
			return nil, fmt.Errorf("%q: %w", h.Name, err)
		}
		if _, err := io.WriteString(w, e.Text); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

// Difficult returns three layers. Each has entries for all its parent directories,
// as overlay file systems need them.
func Difficult() ([][]byte, error) {
	var tars [][]byte
	for _, entries := range [][]Entry{lowest(), middle(), highest()} {
		data, err := Tar(entries...)
		if err != nil {
			return nil, err
		}
		tars = append(tars, data)
	}
	return tars, nil
}

// deep is a path that no header without an extension can hold.
var deep = strings.Repeat("long-name/", 20)

func deepDirs() []Entry {
	var dirs []Entry
	for i := range deep {
		if deep[i] == '/' {
			dirs = append(dirs, Dir(deep[:i], 0o755, 0))
		}
	}
	return dirs
}

func lowest() []Entry {
	suid := Entry{tar.Header{Name: "suid", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 3_000_000, Gid: 4_000_000_000, ModTime: time.Unix(1234567890, 0),
		PAXRecords: map[string]string{"SCHILY.xattr.user.note": "n\x00\n", "SCHILY.xattr.security.capability": Capability}}, "suid"}
	// As tar writes it: Docker applies a link's header to the file.
	suid2 := suid
	suid2.Name, suid2.Typeflag, suid2.Linkname, suid2.Text = "suid2", tar.TypeLink, "suid", ""
	bytes := File("h\xe9\xff", "bytes")
	bytes.Format = tar.FormatGNU
	xdir := Dir("xdir", 0o1777, 0)
	xdir.PAXRecords = map[string]string{"SCHILY.xattr.user.dir": "d"}
	entries := []Entry{
		Dir(".", 0o755, 0),
		Dir("etc", 0o711, 1000), File("etc/passwd", "root"), File("etc/gone", ""),
		Dir("etc/sub", 0o755, 0), Dir("etc/sub/deep", 0o755, 0), File("etc/sub/deep/file", "deep"),
		Dir("opaque", 0o700, 3), File("opaque/a", ""), Dir("opaque/b", 0o755, 0), File("opaque/b/c", ""),
		Dir("late", 0o755, 0), File("late/old", "old"),
		Dir("turns", 0o755, 0), Dir("turns/into", 0o755, 0), File("turns/into/file", ""),
		File("turns-dir", ""), Link("turns-link", "etc"), Link("turns-real", "etc"), Link("absolute", "/etc/passwd"), Link("dangling", "../../nowhere"),
		suid, suid2, {tar.Header{Name: "fifo", Typeflag: tar.TypeFifo, Mode: 0o620}, ""},
		{tar.Header{Name: "zero", Typeflag: tar.TypeChar, Mode: 0o606, Gid: 5, Devmajor: 1, Devminor: 5}, ""},
		{tar.Header{Name: "loop", Typeflag: tar.TypeBlock, Mode: 0o660, Gid: 6, Devmajor: 7, Devminor: 300}, ""},
	}
	entries = append(entries, deepDirs()...)
	return append(entries, File(deep+"file", "long"), bytes, File("hidden", ""), xdir,
		Dir("closed", 0, 0), File("closed/file", "shut"), File("-dash", ""), File("with space", ""))
}

func middle() []Entry {
	entries := []Entry{
		Dir("etc", 0o711, 1000), Whiteout("etc/.wh.gone"), File("etc/new", "new"), Hard("etc/same", "etc/new"),
		Dir("opaque", 0o700, 3), Whiteout("opaque/.wh..wh..opq"), File("opaque/new", "n"),
		// What precedes the opaque whiteout is the layer's own all the same.
		Dir("late", 0o755, 0), File("late/new", "new"), Whiteout("late/.wh..wh..opq"),
		File("turns", "file"), Dir("turns-dir", 0o750, 9), File("turns-dir/x", "x"), Dir("turns-link", 0o755, 0), File("turns-real", "real"),
		Whiteout(".wh.hidden"),
	}
	xdir := Dir("xdir", 0o1777, 0)
	xdir.PAXRecords = map[string]string{"SCHILY.xattr.user.dir": "d"}
	entries = append(entries, deepDirs()...)
	return append(entries, Whiteout(deep+".wh.file"), xdir, File("xdir/in", ""))
}

func highest() []Entry {
	return []Entry{
		Dir("etc", 0o755, 2), File("etc/passwd", "other"), File("etc/new", "newer"), Dir("etc/sub", 0o755, 0), Whiteout("etc/sub/.wh.deep"),
		File("turns", "again"), Whiteout(".wh.none"),
	}
}

// Layout makes an OCI layout in dir with one image called name of uncompressed
// layers, which runs /x.
func Layout(dir, name string, layers ...[]byte) error {
	l := layout{dir: dir}
	type object = map[string]any
	var ids, list, history []any
	for _, data := range layers {
		d := l.blob("application/vnd.oci.image.layer.v1.tar", data)
		list, ids, history = append(list, d), append(ids, d["digest"]), append(history, object{"comment": "x"})
	}
	config := l.json("application/vnd.oci.image.config.v1+json", object{
		"architecture": "amd64", "os": "linux", "config": object{"Cmd": []string{"/x"}}, "history": history,
		"rootfs": object{"type": "layers", "diff_ids": ids}})
	manifest := l.json("application/vnd.oci.image.manifest.v1+json", object{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": list})
	manifest["annotations"] = object{"org.opencontainers.image.ref.name": name}
	index, err := json.Marshal(object{"schemaVersion": 2, "manifests": []any{manifest}})
	if l.err == nil {
		l.err = err
	}
	l.put("index.json", index)
	l.put("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	return l.err
}

// layout writes files until one fails.
type layout struct {
	dir string
	err error
}

func (l *layout) put(name string, data []byte) {
	name = filepath.Join(l.dir, name)
	if l.err == nil {
		l.err = os.MkdirAll(filepath.Dir(name), 0o755)
	}
	if l.err == nil {
		l.err = os.WriteFile(name, data, 0o644)
	}
}

func (l *layout) blob(mediaType string, data []byte) map[string]any {
	sum := fmt.Sprintf("%x", sha256.Sum256(data))
	l.put("blobs/sha256/"+sum, data)
	return map[string]any{"mediaType": mediaType, "digest": "sha256:" + sum, "size": len(data)}
}

func (l *layout) json(mediaType string, v any) map[string]any {
	data, err := json.Marshal(v)
	if l.err == nil {
		l.err = err
	}
	return l.blob(mediaType, data)
}
