package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// This file reads images without varve's own packages, so that other code judges
// what they write.

// readImage is an image as it was found.
type readImage struct {
	names    []string
	config   []byte
	manifest []byte
	// layers are tars, the lowest first.
	layers [][]byte
}

// openImages reads a docker-archive, an OCI layout or its archive.
func openImages(path string) ([]readImage, error) {
	files, err := imageFiles(path)
	if err != nil {
		return nil, err
	}
	if manifest, ok := files["manifest.json"]; ok {
		return dockerImages(files, manifest)
	}
	return layoutImages(files)
}

// imageFiles returns the files of an archive or a directory.
func imageFiles(path string) (map[string][]byte, error) {
	files := map[string][]byte{}
	if st, err := os.Stat(path); err != nil {
		return nil, err
	} else if st.IsDir() {
		return files, filepath.WalkDir(path, func(name string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(path, name)
			if err != nil {
				return err
			}
			files[rel], err = os.ReadFile(name)
			return err
		})
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return files, eachEntry(data, func(h *tar.Header, content []byte) { files[h.Name] = content })
}

// eachEntry reads a tar, compressed or not.
func eachEntry(data []byte, each func(h *tar.Header, content []byte)) error {
	data, err := plainBytes(data)
	if err != nil {
		return err
	}
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		content, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		each(h, content)
	}
}

// plainBytes decompresses data that is gzip or zstd by its first bytes.
func plainBytes(data []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(data, []byte{0x1f, 0x8b}):
		r, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	case bytes.HasPrefix(data, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		r, err := zstd.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(r)
	}
	return data, nil
}

func dockerImages(files map[string][]byte, manifest []byte) ([]readImage, error) {
	var list []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(manifest, &list); err != nil {
		return nil, err
	}
	var images []readImage
	for _, m := range list {
		img := readImage{names: m.RepoTags, config: files[m.Config], manifest: manifest}
		for _, l := range m.Layers {
			img.layers = append(img.layers, files[l])
		}
		images = append(images, img)
	}
	return images, nil
}

type descriptor struct {
	Digest      string
	Annotations map[string]string
}

func layoutImages(files map[string][]byte) ([]readImage, error) {
	var index struct{ Manifests []descriptor }
	if err := json.Unmarshal(files["index.json"], &index); err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	blob := func(d descriptor) []byte { return files["blobs/"+strings.Replace(d.Digest, ":", "/", 1)] }
	var images []readImage
	for _, m := range index.Manifests {
		var manifest struct {
			Config descriptor
			Layers []descriptor
		}
		if err := json.Unmarshal(blob(m), &manifest); err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
		img := readImage{config: blob(manifest.Config), manifest: blob(m)}
		for _, key := range slices.Sorted(maps.Keys(m.Annotations)) {
			img.names = append(img.names, m.Annotations[key])
		}
		for _, l := range manifest.Layers {
			data, err := plainBytes(blob(l))
			if err != nil {
				return nil, err
			}
			img.layers = append(img.layers, data)
		}
		images = append(images, img)
	}
	return images, nil
}

// scriptImage reads the image that a script names; if there are several, the first.
func scriptImage(ts *script, path string) (readImage, error) {
	images, err := openImages(ts.MkAbs(path))
	if err != nil {
		return readImage{}, fmt.Errorf("%s: %w", path, err)
	}
	if len(images) == 0 {
		return readImage{}, fmt.Errorf("%s holds no image", path)
	}
	return images[0], nil
}

func printConfig(ts *script, args []string) error {
	img, err := scriptImage(ts, args[0])
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(ts.Stdout(), "%s\n", img.config)
	return err
}

func printManifest(ts *script, args []string) error {
	img, err := scriptImage(ts, args[0])
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(ts.Stdout(), "%s\n", img.manifest)
	return err
}

func printEntries(ts *script, args []string) error {
	img, err := scriptImage(ts, args[0])
	if err != nil {
		return err
	}
	n := len(img.layers)
	if len(args) > 1 {
		if n, err = strconv.Atoi(args[1]); err != nil {
			return err
		}
	}
	if n < 1 || n > len(img.layers) {
		return fmt.Errorf("%s has %d layers", args[0], len(img.layers))
	}
	return list(ts.Stdout(), img.layers[n-1])
}

func listTar(ts *script, args []string) error {
	data, err := os.ReadFile(ts.MkAbs(args[0]))
	if err != nil {
		return err
	}
	return list(ts.Stdout(), data)
}

// list prints a line for each entry: type, mode, owner, size, time if it is not 1,
// name, target and extended attributes.
func list(w io.Writer, data []byte) error {
	return eachEntry(data, func(h *tar.Header, content []byte) {
		line := fmt.Sprintf("%s %04o %d:%d", typeLetter(h.Typeflag), h.Mode, h.Uid, h.Gid)
		if h.Uname != "" || h.Gname != "" {
			line += fmt.Sprintf(" %s:%s", h.Uname, h.Gname)
		}
		if h.Typeflag == tar.TypeReg {
			line += fmt.Sprintf(" %d", h.Size)
		}
		if t := h.ModTime.Unix(); t != 1 {
			line += fmt.Sprintf(" @%d", t)
		}
		line += " " + word(h.Name)
		if h.Linkname != "" {
			line += " -> " + word(h.Linkname)
		}
		for _, key := range slices.Sorted(maps.Keys(h.PAXRecords)) {
			if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
				line += fmt.Sprintf(" %s=%x", name, h.PAXRecords[key])
			}
		}
		fmt.Fprintln(w, line)
	})
}

// word returns a name as it is, or quoted if it contains anything unusual.
func word(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return strconv.Quote(s)
	}
	return s
}

func typeLetter(flag byte) string {
	switch flag {
	case tar.TypeReg:
		return "-"
	case tar.TypeDir:
		return "d"
	case tar.TypeSymlink:
		return "l"
	case tar.TypeLink:
		return "h"
	}
	return string(flag)
}

func printSums(ts *script, args []string) error {
	for _, name := range args {
		data := ts.ReadFile(name)
		fmt.Fprintf(ts.Stdout(), "%x\n", sha256.Sum256([]byte(data)))
	}
	return nil
}

func decompress(ts *script, args []string) error {
	data, err := os.ReadFile(ts.MkAbs(args[0]))
	if err != nil {
		return err
	}
	if data, err = plainBytes(data); err != nil {
		return err
	}
	return os.WriteFile(ts.MkAbs(args[1]), data, 0o644)
}

// writeTar makes a tar, compressed as the ending of its name says.
func writeTar(path string, fill func(*tar.Writer) error) error {
	var buf bytes.Buffer
	var out io.WriteCloser = nopCloser{&buf}
	switch filepath.Ext(path) {
	case ".gz", ".tgz":
		out = gzip.NewWriter(&buf)
	case ".zst":
		z, err := zstd.NewWriter(&buf)
		if err != nil {
			return err
		}
		out = z
	}
	w := tar.NewWriter(out)
	if err := errors.Join(fill(w), w.Close(), out.Close()); err != nil {
		return err
	}
	return os.WriteFile(path, buf.Bytes(), 0o644)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
