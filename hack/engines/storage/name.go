package main

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"os"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// ociName returns the name of an OCI archive's image, as Podman finds it: containerd's annotation,
// or else the reference's.
func ociName(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		hdr, err := r.Next()
		if err != nil {
			return "", errors.New("there is no index.json")
		}
		if hdr.Name != "index.json" && hdr.Name != "./index.json" {
			continue
		}
		var index v1.Index
		if err := json.NewDecoder(r).Decode(&index); err != nil {
			return "", err
		}
		if len(index.Manifests) == 0 {
			return "", errors.New("the index is empty")
		}
		if name := index.Manifests[0].Annotations["io.containerd.image.name"]; name != "" {
			return name, nil
		}
		return index.Manifests[0].Annotations[v1.AnnotationRefName], nil
	}
}
