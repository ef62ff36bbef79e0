package place

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"github.com/varve-image/varve/internal/compress"
)

// Hints returns how to write a reference for a text that does not name a file but may name an
// image; none if it looks like a file name. A bare name may mean an image of a registry or an
// engine.
func Hints(text string) []string {
	name, from := text, ""
	for _, prefix := range []string{"https://", "http://", "docker:", "registry:", "podman:", "image:"} {
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			name, from = strings.TrimPrefix(rest, "//"), prefix
			break
		}
	}
	if from == "" && (isFileName(name) || strings.HasPrefix(name, "/") || strings.HasPrefix(name, ".")) {
		return nil
	}
	if _, err := reference.ParseNormalizedNamed(name); err != nil {
		return nil
	}
	inRegistry := fmt.Sprintf("an image of a registry is written docker://%s", name)
	inDocker := fmt.Sprintf("one that Docker has is docker-daemon:%s", name)
	switch from {
	case "https://", "http://":
		return []string{inRegistry}
	case "podman:":
		return []string{fmt.Sprintf("one that Podman has is written containers-storage:%s", name), inRegistry}
	}
	return []string{inRegistry, inDocker}
}

// isFileName reports whether name has the ending of an archive or a spec.
func isFileName(name string) bool {
	return compress.FileName(name) || slices.Contains([]string{".json", ".yaml", ".yml", ".nix", ".drv"}, path.Ext(name))
}
