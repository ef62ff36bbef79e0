package hostile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Layout is an OCI layout: its files, symlinks and FIFOs, for a directory or as
// the members of an archive.
type Layout struct {
	Name  string
	Files []Entry
	// DirOnly says that an archive of these files is accepted.
	DirOnly bool
	// UnpackedOnly says that only a reader that unpacks layers sees the fault.
	UnpackedOnly bool
	// Mismatch and Refused are as in Archive.
	Mismatch bool
	Refused  []string
}

const (
	ociIndex    = "application/vnd.oci.image.index.v1+json"
	ociManifest = "application/vnd.oci.image.manifest.v1+json"
	ociConfig   = "application/vnd.oci.image.config.v1+json"
	ociLayer    = "application/vnd.oci.image.layer.v1.tar"
)

// Descriptor returns the JSON of a descriptor of data; more has further fields,
// each preceded by a comma.
func Descriptor(mediaType string, data []byte, more string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d%s}`, mediaType, Digest(data), len(data), more)
}

// Manifest returns the manifest of an image of uncompressed layers.
func Manifest(layers ...[]byte) string {
	list := make([]string, len(layers))
	for i, l := range layers {
		list[i] = Descriptor(ociLayer, l, "")
	}
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`,
		ociManifest, Descriptor(ociConfig, []byte(Config(layers...)), ""), strings.Join(list, ","))
}

// Index returns an index of the descriptors.
func Index(descriptors ...string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, ociIndex, strings.Join(descriptors, ","))
}

// parts holds a layout that is being made.
type parts struct {
	marker, index, manifest string
	// blobs holds all blobs except the manifest, by path.
	blobs map[string]Entry
}

const refName = `,"annotations":{"org.opencontainers.image.ref.name":"1"}`

func newParts(layers ...[]byte) *parts {
	p := &parts{marker: `{"imageLayoutVersion":"1.0.0"}`, manifest: Manifest(layers...), blobs: map[string]Entry{}}
	p.blob([]byte(Config(layers...)))
	for _, l := range layers {
		p.blob(l)
	}
	return p
}

func blobName(data []byte) string {
	return "blobs/sha256/" + strings.TrimPrefix(Digest(data), "sha256:")
}

func (p *parts) blob(data []byte) { p.blobs[blobName(data)] = File(blobName(data), string(data)) }

// files returns the layout's files; without an index, it makes one for the manifest.
func (p *parts) files() []Entry {
	p.blob([]byte(p.manifest))
	if p.index == "" {
		p.index = Index(Descriptor(ociManifest, []byte(p.manifest), refName))
	}
	files := []Entry{File("oci-layout", p.marker), File("index.json", p.index)}
	for _, name := range slices.Sorted(maps.Keys(p.blobs)) {
		files = append(files, p.blobs[name])
	}
	return files
}

// OCILayout returns a layout of one image, called 1, with the layers.
func OCILayout(layers ...[]byte) []Entry { return newParts(layers...).files() }

// spoiled returns a layout of Image that was changed.
func spoiled(name string, spoil func(*parts), texts ...string) Layout {
	p := newParts(Image()...)
	spoil(p)
	// A blob of another size than it should have cannot have its digest.
	wrongSize := slices.ContainsFunc(texts, func(text string) bool { return strings.HasSuffix(text, "are expected") })
	return Layout{Name: name, Files: p.files(), Refused: texts, Mismatch: wrongSize}
}

func inIndex(name, old, new string, texts ...string) Layout {
	return spoiled(name, func(p *parts) {
		p.index = replaceOnce(Index(Descriptor(ociManifest, []byte(p.manifest), refName)), old, new)
	}, texts...)
}

func inManifest(name, old, new string, texts ...string) Layout {
	return spoiled(name, func(p *parts) { p.manifest = replaceOnce(p.manifest, old, new) }, texts...)
}

func replaceOnce(text, old, new string) string {
	if !strings.Contains(text, old) {
		panic(fmt.Sprintf("%s has no %q", text, old))
	}
	return strings.Replace(text, old, new, 1)
}

// LayoutCases returns the cases of OCI layouts.
func LayoutCases() []Layout {
	return slices.Concat(layoutsTaken(), layoutMarkers(), layoutDigests(), layoutFields(), layoutBlobs(), layoutIndexes())
}

func layoutsTaken() []Layout {
	attestation := Descriptor(ociManifest, []byte("x"), `,"platform":{"os":"unknown","architecture":"unknown"}`)
	return []Layout{
		{Name: "whole", Files: OCILayout(Image()...)},
		spoiled("nested indexes with attestations", func(p *parts) {
			inner := Index(attestation, Descriptor(ociManifest, []byte(p.manifest), `,"platform":{"os":"linux","architecture":"amd64"}`), attestation)
			outer := Index(Descriptor(ociIndex, []byte(inner), ""), attestation)
			p.blob([]byte(inner))
			p.blob([]byte(outer))
			p.index = Index(Descriptor(ociIndex, []byte(outer), refName))
		}),
		spoiled("gzip called a tar", func(p *parts) {
			tool := Image()[1]
			p.blob(Gzip(tool))
			p.manifest = replaceOnce(p.manifest, Descriptor(ociLayer, tool, ""), Descriptor(ociLayer, Gzip(tool), ""))
		}),
		inIndex("unknown fields", `"schemaVersion":2`, `"schemaVersion":2,"x":{"layers":[]},"subject":null`),
		inIndex("an artifact beside it", `"manifests":[`, `"manifests":[`+Descriptor("application/x", []byte("x"), "")+`,`),
		inIndex("embedded data", refName, refName+`,"data":""`),
	}
}

func layoutMarkers() []Layout {
	marker := func(name, text string, texts ...string) Layout {
		return spoiled(name, func(p *parts) { p.marker = text }, texts...)
	}
	without := func(name, file string, texts ...string) Layout {
		return Layout{Name: name, Refused: texts, Files: slices.DeleteFunc(OCILayout(Image()...), func(e Entry) bool { return e.Name == file })}
	}
	return []Layout{
		without("no oci-layout", "oci-layout", "not an OCI layout"),
		without("no index.json", "index.json", `index.json`),
		marker("another version", `{"imageLayoutVersion":"9.0.0"}`, "imageLayoutVersion", `"9.0.0"`),
		marker("version by another case", `{"ImageLayoutVersion":"1.0.0"}`, `"ImageLayoutVersion"`),
		marker("no version", `{}`, "imageLayoutVersion"),
		marker("oci-layout is not JSON", `1.0.0`, "oci-layout"),
		marker("oci-layout of 9 MiB", strings.Repeat(" ", 9<<20), "oci-layout", "more than 8388608"),
		spoiled("index.json of 9 MiB", func(p *parts) { p.index = strings.Repeat(" ", 9<<20) }, "index.json", "more than 8388608"),
		spoiled("index.json is deep", func(p *parts) { p.index = strings.Repeat("[", 100_000) }, "index.json", "nested deeper"),
		spoiled("index.json is a page", func(p *parts) { p.index = "<html>" }, "index.json"),
	}
}

func layoutDigests() []Layout {
	manifest := Digest([]byte(Manifest(Image()...)))
	config := Digest([]byte(Config(Image()...)))
	hex := strings.TrimPrefix(manifest, "sha256:")
	return []Layout{
		inIndex("digest leads out", manifest, "sha256:../../../canary/file", `digest "sha256:../../../canary/file"`),
		inIndex("digest with a path behind it", manifest, manifest+"/../../x", `/../../x"`),
		inIndex("digest in upper case", hex, strings.ToUpper(hex), `digest "sha256:`+strings.ToUpper(hex)),
		inIndex("digest too short", manifest, manifest[:len(manifest)-1], "digest", manifest[:len(manifest)-1]),
		inIndex("digest with a line", manifest, manifest+`\n`, "digest", `\n`),
		inIndex("unknown algorithm", manifest, "md5:d41d8cd98f00b204e9800998ecf8427e", `digest "md5:`),
		inIndex("no digest", manifest, "", `digest ""`),
		inIndex("digest is a number", `"`+manifest+`"`, "1", "digest"),
		inManifest("config's digest leads out", config, "sha256:../..", `digest "sha256:../.."`),
		inManifest("layer's digest leads out", Digest(Image()[1]), "../../../canary/file", `digest "../../../canary/file"`),
	}
}

func layoutFields() []Layout {
	size := fmt.Sprintf(`"size":%d`, len(Manifest(Image()...)))
	layer := fmt.Sprintf(`"size":%d`, len(Image()[1]))
	return []Layout{
		inIndex("size -1", size, `"size":-1`, "size is -1"),
		inIndex("size 2^63-1", size, `"size":9223372036854775807`, "9223372036854775807"),
		inIndex("size 2^63", size, `"size":9223372036854775808`, "size is 9223372036854775808"),
		inIndex("size is text", size, `"size":"1"`, `size is "1"`),
		inIndex("size too small", size, `"size":1`, "1 are expected"),
		inIndex("size too large", size, size+"0", "are expected"),
		inManifest("layer's size too large", layer, layer+"0", "are expected"),
		inManifest("layer's size 2^63-1", layer, `"size":9223372036854775807`, "9223372036854775807 are expected"),
		inIndex("manifests and layers", `"manifests"`, `"layers":[],"manifests"`, `"layers"`),
		inIndex("manifests and Manifests", `"manifests"`, `"Manifests":[],"manifests"`, `"Manifests"`),
		inIndex("manifests twice", `"manifests"`, `"manifests":[],"manifests"`, `"manifests"`, "twice"),
		inIndex("Digest beside digest", `"digest"`, `"Digest":"x","digest"`, `"Digest"`),
		inManifest("layers and Layers", `"layers"`, `"Layers":[],"layers"`, `"Layers"`),
		inManifest("layers and layerſ", `"layers"`, `"layerſ":[],"layers"`, `expected "layers"`),
		inManifest("layers and manifests", `"layers"`, `"manifests":[],"layers"`, `"manifests"`),
		inManifest("schema 1", `"schemaVersion":2`, `"schemaVersion":1`, "schema 1"),
		inManifest("no schemaVersion", `"schemaVersion":2,`, ``, "schemaVersion"),
		inManifest("mediaType is an index's", ociManifest, ociIndex, "mediaType"),
		inManifest("mediaType is Docker's", ociManifest, "application/vnd.docker.distribution.manifest.v2+json", "docker.distribution.manifest.v2"),
		inIndex("mediaType is a manifest's", ociIndex, ociManifest, "mediaType"),
		inIndex("mediaType is Docker's in the index", `"mediaType":"`+ociManifest, `"mediaType":"application/vnd.docker.distribution.manifest.v2+json`, "docker.distribution.manifest.v2"),
		inIndex("an index called a manifest", `"mediaType":"`+ociManifest, `"mediaType":"`+ociIndex, "mediaType"),
		inIndex("data is another", refName, refName+`,"data":"eA=="`, "data"),
		inIndex("data is not base64", refName, refName+`,"data":"?"`, "data"),
		inManifest("no layers", `"layers":[`, `"layers":[],"x":[`, "3 diff_ids", "0 layers"),
	}
}

func layoutBlobs() []Layout {
	layer := Image()[1]
	replace := func(name string, data []byte, e Entry, texts ...string) Layout {
		return spoiled(name, func(p *parts) {
			p.files() // the manifest is a blob too
			e.Name = blobName(data)
			p.blobs[e.Name] = e
			if name := blobName([]byte(p.manifest)); name == e.Name {
				p.manifest = e.Content
			}
		}, texts...)
	}
	manifest, config := []byte(Manifest(Image()...)), []byte(Config(Image()...))
	mismatch := func(l Layout) Layout { l.Mismatch = true; return l }
	dirOnly := func(l Layout) Layout { l.DirOnly = true; return l }
	unpackedOnly := func(l Layout) Layout { l.UnpackedOnly = true; return l }
	digest := strings.TrimPrefix(Digest(layer), "sha256:")
	return []Layout{
		mismatch(replace("another manifest", manifest, File("", replaceOnce(string(manifest), "schemaVersion", "SchemaVersion")), "digest is")),
		mismatch(replace("another config", config, File("", replaceOnce(string(config), "amd64", "arm64")), "digest is", Digest(config))),
		mismatch(replace("another layer", layer, File("", string(flip(layer, 600))), "digest is", digest)),
		replace("layer too long", layer, File("", string(layer)+"x"), digest, "are expected"),
		replace("layer too short", layer, File("", string(layer[:len(layer)-1])), digest, "are expected"),
		dirOnly(replace("layer is a symlink", layer, Symlink("", "../../index.json"), digest, "not a regular file")),
		replace("layer is a symlink that leads out", layer, Symlink("", "../../../../../../../../etc/passwd"), digest),
		replace("layer is an absolute symlink", layer, Symlink("", "/etc/passwd"), digest),
		replace("layer is a FIFO", layer, Entry{Type: '6'}, digest, "not a regular file"),
		replace("layer is a directory", layer, Dir(""), digest, "not a regular file"),
		spoiled("layer is missing", func(p *parts) { delete(p.blobs, blobName(layer)) }, digest),
		spoiled("config is missing", func(p *parts) { delete(p.blobs, blobName(config)) }, strings.TrimPrefix(Digest(config), "sha256:")),
		unpackedOnly(mismatch(spoiled("config that claims the layer of another image", func(p *parts) {
			// A layer's bytes, with the diffID of another layer.
			lie := []byte(strings.Replace(string(config), Digest(layer), Digest(Image()[0]), 1))
			p.blob(lie)
			p.manifest = replaceOnce(p.manifest, Descriptor(ociConfig, config, ""), Descriptor(ociConfig, lie, ""))
		}, Digest(Image()[0]), Digest(layer)))),
	}
}

func layoutIndexes() []Layout {
	nested := func(p *parts, depth int) {
		inner := Descriptor(ociManifest, []byte(p.manifest), "")
		for range depth {
			index := Index(inner)
			p.blob([]byte(index))
			inner = Descriptor(ociIndex, []byte(index), "")
		}
		p.index = Index(inner)
	}
	return []Layout{
		spoiled("nested 5 deep", func(p *parts) { nested(p, 5) }, "nested deeper than 4"),
		spoiled("100001 manifests", func(p *parts) {
			p.index = Index(strings.Repeat(`{"mediaType":"a"},`, 100_000) + `{"mediaType":"a"}`)
		}, "100001 of them, more than 10000"),
		spoiled("10000 manifests 4 times", func(p *parts) {
			d := Descriptor(ociManifest, []byte(p.manifest), "")
			inner := Index(strings.Repeat(d+",", 9_999) + d)
			p.blob([]byte(inner))
			i := Descriptor(ociIndex, []byte(inner), "")
			p.index = Index(i, i, i, i)
		}, "more than 10000 images"),
		spoiled("an index that branches", func(p *parts) {
			inner := Descriptor(ociManifest, []byte("x"), `,"platform":{"os":"unknown","architecture":"unknown"}`)
			for range 4 {
				index := Index(strings.Repeat(inner+",", 99) + inner)
				p.blob([]byte(index))
				inner = Descriptor(ociIndex, []byte(index), "")
			}
			p.index = Index(inner)
		}, "indexes"),
		spoiled("index too long", func(p *parts) {
			p.index = Index(strings.Replace(Descriptor(ociIndex, []byte("x"), ""), `"size":1`, `"size":8388609`, 1))
		}, "8388609 bytes, more than"),
	}
}
