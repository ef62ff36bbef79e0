package dockertools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/spec"
)

// WriteLayer writes the last explicit layer of a spec, as buildLayer does, into the new
// directory dir, which gets its name when it is complete. It returns the layer's
// description.
func WriteLayer(ctx context.Context, result *assemble.Result, dir string) (layer.Info, error) {
	dir = strings.TrimSuffix(dir, "/")
	built, err := result.Built(dir)
	if err != nil {
		return layer.Info{}, err
	}
	description, err := json.MarshalIndent(built, "", "  ")
	if err != nil {
		return layer.Info{}, err
	}
	if _, err := os.Lstat(dir); err == nil {
		return layer.Info{}, inputErrorf("%q exists: a layer is written into a new directory", dir)
	}
	temp, err := atomicfile.CreateDir(dir)
	if err != nil {
		return layer.Info{}, err
	}
	defer temp.Abort()
	layers := result.Image.Layers()
	l := layers[len(layers)-2]
	if err := errors.Join(
		temp.Root.WriteFile(assemble.LayerInfo, append(description, '\n'), 0o644),
		writeLayerFiles(ctx, temp.Root, l),
		temp.Root.Chmod(".", 0o755),
	); err != nil {
		return layer.Info{}, fmt.Errorf("write layer to %q: %w", dir, err)
	}
	if err := temp.Commit(); err != nil {
		return layer.Info{}, err
	}
	return l.Info(ctx)
}

// writeTopLayer writes an image's top layer into the new directory dir.
func writeTopLayer(ctx context.Context, img image.Image, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return writeLayerFiles(ctx, root, img.Layers()[len(img.Layers())-1])
}

// writeLayerFiles writes a layer's tar, and its checksum, into a directory.
func writeLayerFiles(ctx context.Context, dir *os.Root, l image.Layer) error {
	info, err := l.Info(ctx)
	if err != nil {
		return err
	}
	if err := dir.WriteFile(assemble.LayerChecksum, []byte(info.DiffID.Encoded()+"\n"), 0o644); err != nil {
		return err
	}
	f, err := dir.Create(assemble.LayerTar)
	if err != nil {
		return err
	}
	return errors.Join(l.Write(ctx, f), f.Sync(), f.Close())
}

// writeLayerJSON adds to a layer's directory the files that Docker had in its
// archives before version 1.10, and that nixpkgs' buildImage makes for each layer:
// json, which is the file baseJSON with the tar's TarSum, and VERSION. now replaces
// a created that is "now".
func writeLayerJSON(ctx context.Context, dir, baseJSON string, now time.Time) error {
	data, err := regfile.Read(baseJSON, spec.MaxSize)
	if err != nil {
		return fileError(fmt.Errorf("read baseJson %q: %w", baseJSON, regfile.Cause(err)))
	}
	v, err := ordjson.Parse(data)
	if err != nil {
		return inputErrorf("read baseJson %q: %w", baseJSON, err)
	}
	o, ok := v.(*ordjson.Object)
	if !ok {
		return inputErrorf("read baseJson %q: expected an object", baseJSON)
	}
	if at, ok := o.Get("created"); ok && at == "now" {
		o.Set("created", now.UTC().Format("2006-01-02T15:04:05-07:00"))
	}
	sum, err := tarSumOf(ctx, filepath.Join(dir, assemble.LayerTar))
	if err != nil {
		return err
	}
	o.Set("checksum", sum)
	text, err := ordjson.Marshal(o)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "json"), append(text, '\n'), 0o644),
		os.WriteFile(filepath.Join(dir, "VERSION"), []byte("1.0"), 0o644),
	)
}

func tarSumOf(ctx context.Context, name string) (string, error) {
	f, err := regfile.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return layer.TarSum(ctx, f)
}
