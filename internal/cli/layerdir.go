package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/varve-image/varve/build"
	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/ui"
)

// writeBuilt writes the last explicit layer of a spec into the new directory
// dir, which gets its name when it is complete.
func (g *global) writeBuilt(ctx context.Context, result *build.Result, dir string) (err error) {
	dir = strings.TrimSuffix(dir, "/")
	built, err := result.Built(dir)
	if err != nil {
		return err
	}
	info, err := json.MarshalIndent(built, "", "  ")
	if err != nil {
		return err
	}
	if _, err := os.Lstat(dir); err == nil {
		return usageError(fmt.Errorf("%q exists: a layer is written into a new directory", dir))
	}
	temp, err := atomicfile.CreateDir(dir)
	if err != nil {
		return err
	}
	defer temp.Abort()
	l := result.Image.Layers[len(result.Image.Layers)-2]
	if err := errors.Join(
		temp.Root.WriteFile(build.LayerInfo, append(info, '\n'), 0o644),
		writeLayerFiles(ctx, temp.Root, l),
		temp.Root.Chmod(".", 0o755),
	); err != nil {
		return fmt.Errorf("write layer to %q: %w", dir, err)
	}
	if err := temp.Commit(); err != nil {
		return err
	}
	size, err := l.Info(ctx)
	if err == nil {
		g.ui.Info("%s: layer %s, %s", dir, size.DiffID, ui.Size(size.Size))
	}
	return err
}

// writeLayerFiles writes a layer's tar, and its checksum, into a directory.
func writeLayerFiles(ctx context.Context, dir *os.Root, l image.Layer) error {
	info, err := l.Info(ctx)
	if err != nil {
		return err
	}
	if err := dir.WriteFile(build.LayerChecksum, []byte(info.DiffID.Encoded()+"\n"), 0o644); err != nil {
		return err
	}
	f, err := dir.Create(build.LayerTar)
	if err != nil {
		return err
	}
	return errors.Join(l.Write(ctx, f), f.Sync(), f.Close())
}
