package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/varve-image/varve/build"
	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/ui"
)

// writeBuilt writes the last explicit layer of a spec into the new directory
// dir, which gets its name when it is complete.
func (g *global) writeBuilt(ctx context.Context, result *build.Result, dir string) (err error) {
	built, err := result.Built()
	if err != nil {
		return err
	}
	info, err := json.MarshalIndent(built, "", "  ")
	if err != nil {
		return err
	}
	dir = strings.TrimSuffix(dir, "/")
	if _, err := os.Lstat(dir); err == nil {
		return usageError(fmt.Errorf("%q exists: a layer is written into a new directory", dir))
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), ".varve-layer-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	l := result.Image.Layers[len(result.Image.Layers)-2]
	if err := errors.Join(
		os.Chmod(temp, 0o755),
		os.WriteFile(filepath.Join(temp, build.LayerInfo), append(info, '\n'), 0o644),
		writeLayerFiles(ctx, temp, l),
	); err != nil {
		return fmt.Errorf("write layer to %q: %w", dir, err)
	}
	if err := os.Rename(temp, dir); err != nil {
		return fmt.Errorf("write layer to %q: %w", dir, err)
	}
	size, err := l.Info(ctx)
	if err == nil {
		g.ui.Info("%s: layer %s, %s", dir, size.DiffID, ui.Size(size.Size))
	}
	return err
}

// writeLayerFiles writes a layer's tar, and its checksum, into a directory.
func writeLayerFiles(ctx context.Context, dir string, l image.Layer) error {
	info, err := l.Info(ctx)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, build.LayerChecksum), []byte(info.DiffID.Encoded()+"\n"), 0o644); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, build.LayerTar))
	if err != nil {
		return err
	}
	return errors.Join(l.Write(ctx, f), f.Sync(), f.Close())
}
