package inspect

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/ocijson"
)

// MarshalJSON returns the image as an object on one line.
func (img *Image) MarshalJSON() ([]byte, error) { return ordjson.MarshalCompact(img.object()) }

// JSON returns a list with an object for each image, indented.
func JSON(images []*Image) ([]byte, error) {
	list := make([]any, len(images))
	for i, img := range images {
		list[i] = img.object()
	}
	return ordjson.Marshal(list)
}

func (img *Image) object() *ordjson.Object {
	names := make([]any, len(img.Names))
	for i, n := range img.Names {
		names[i] = n
	}
	o := &ordjson.Object{}
	o.Set("names", names)
	o.Set("id", img.ID.String())
	if img.Manifest != "" {
		o.Set("manifest", img.Manifest.String())
	}
	if img.Index != "" {
		o.Set("index", img.Index.String())
	}
	o.Set("platform", ocijson.PlatformText(&img.Platform))
	layers := make([]any, len(img.Layers))
	for i := range img.Layers {
		layers[i] = img.Layers[i].object()
	}
	o.Set("layers", layers)
	o.Set("config", img.Config)
	return o
}

func (l *Layer) object() *ordjson.Object {
	o := &ordjson.Object{}
	if l.Stored.Digest != "" {
		o.Set("digest", l.Stored.Digest.String())
		o.Set("mediaType", l.Stored.MediaType)
		o.Set("size", number(l.Stored.Size))
	}
	o.Set("diffID", l.DiffID.String())
	o.Set("uncompressedSize", number(l.Size))
	o.Set("entries", number(l.Entries))
	o.Set("files", number(l.Files))
	o.Set("whiteouts", number(l.Whiteouts))
	places := make([]any, len(l.Places))
	for i, p := range l.Places {
		places[i] = &ordjson.Object{Members: []ordjson.Member{
			{Key: "path", Value: strings.ToValidUTF8(p.Path, "\ufffd")},
			{Key: "files", Value: number(p.Files)},
			{Key: "size", Value: number(p.Bytes)},
		}}
	}
	o.Set("contents", places)
	return o
}

func number[T int | int64](n T) json.Number { return json.Number(strconv.FormatInt(int64(n), 10)) }
