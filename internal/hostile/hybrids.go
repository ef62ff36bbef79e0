package hostile

import "fmt"

// nameOf returns the annotation by which containerd and Podman find the image of a descriptor.
func nameOf(name string) string {
	return fmt.Sprintf(`,"annotations":{"io.containerd.image.name":%q}`, name)
}

// HybridCases returns the cases of docker-archives that are OCI layouts as well. Those that are
// accepted have Image as hello:1.
func HybridCases() []Archive {
	hybrid := func(name string, docker []Entry, spoil func(*parts), texts ...string) Archive {
		p := newParts(Image()...)
		p.index = Index(Descriptor(ociManifest, []byte(p.manifest), nameOf("docker.io/library/hello:1")))
		if spoil != nil {
			spoil(p)
		}
		return Archive{Name: name, Data: Tar(append(docker, p.files()...)...), Refused: texts}
	}
	called := func(name string) func(*parts) {
		return func(p *parts) {
			p.index = Index(Descriptor(ociManifest, []byte(p.manifest), nameOf(name)))
		}
	}
	mismatch := func(a Archive) Archive {
		a.Mismatch = true
		return a
	}
	image, tool := DockerArchive(Image()...), DockerArchive(Image()[1])
	contradiction := []string{`"hello:1"`, "in manifest.json", "in index.json"}
	return []Archive{
		hybrid("whole", image, nil),
		hybrid("halves by other names", image, called("docker.io/library/other:1")),
		hybrid("halves of different images by one name", tool, nil, contradiction...),
		hybrid("halves of different images by a short name", tool, called("hello:1"), contradiction...),
		hybrid("another image in an index", tool, func(p *parts) {
			inner := Index(Descriptor(ociManifest, []byte(p.manifest), `,"platform":{"os":"linux","architecture":"amd64"}`))
			p.blob([]byte(inner))
			p.index = Index(Descriptor(ociIndex, []byte(inner), nameOf("docker.io/library/hello:1")))
		}, contradiction...),
		hybrid("a layout that lists what it does not have", image, func(p *parts) {
			p.index = Index(Descriptor(ociManifest, []byte("gone"), nameOf("docker.io/library/hello:1")))
		}),
		hybrid("a layout that is none", image, func(p *parts) { p.index = "{" }),
		hybrid("a layout of another version", image, func(p *parts) { p.marker = `{"imageLayoutVersion":"9"}` }),
		hybrid("a layout without a layer", image, func(p *parts) { delete(p.blobs, blobName(Image()[1])) }),
		mismatch(hybrid("a layout with a damaged layer", image, func(p *parts) {
			damaged := []byte(Tar(File("tool", "damaged")))
			p.blobs[blobName(Image()[1])] = File(blobName(Image()[1]), string(damaged)+string(make([]byte, len(Image()[1])-len(damaged))))
		}, "digest is")),
		mismatch(hybrid("a layout with the layers of another", image, func(p *parts) {
			p.manifest = replaceOnce(p.manifest, Descriptor(ociLayer, Image()[1], ""), Descriptor(ociLayer, Image()[0], ""))
			called("docker.io/library/hello:1")(p)
		}, "digest is")),
	}
}
