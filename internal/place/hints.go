package place

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"github.com/varve-image/varve/internal/compress"
)

// Hints say what a text would be written as that is not a file, but the name of an image:
// none where it looks like a file's. People mean an image of a registry or an engine by a bare
// name, too.
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

// isFileName tells the name of an archive or a spec by its ending.
func isFileName(name string) bool {
	return compress.FileName(name) || slices.Contains([]string{".json", ".yaml", ".yml", ".nix", ".drv"}, path.Ext(name))
}
