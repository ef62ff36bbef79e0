package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"github.com/varve-image/varve/internal/compress"
)

// missingImage is the error of a reference to a file that is not there, as it was
// written: people mean an image of a registry or an engine by that, too.
func missingImage(written string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if hints := referenceHints(written); len(hints) > 0 {
		return hint(err, hints...)
	}
	return err
}

// referenceHints say what a text would be written as that is no file, but the name
// of an image: none where it looks like a file's.
func referenceHints(text string) []string {
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
	inRegistry := fmt.Sprintf("an image of a registry is written %s://%s", dockerRegistry, name)
	inDocker := fmt.Sprintf("one that Docker has is %s:%s", dockerDaemon, name)
	switch from {
	case "https://", "http://":
		return []string{inRegistry}
	case "podman:":
		return []string{fmt.Sprintf("one that Podman has is written %s:%s", containersStorage, name), inRegistry}
	}
	return []string{inRegistry, inDocker}
}

// isFileName tells the name of an archive or a spec by its ending.
func isFileName(name string) bool {
	return compress.FileName(name) || slices.Contains([]string{".json", ".yaml", ".yml", ".nix", ".drv"}, path.Ext(name))
}
