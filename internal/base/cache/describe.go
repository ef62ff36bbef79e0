package cache

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/internal/ocijson"
)

// Title returns an image's name for people.
func (img *Image) Title() string {
	name := img.Name
	if img.FullName != "" {
		name = img.FullName + "@" + img.Descriptor.Digest.String()
	}
	if name == "" {
		name = img.Descriptor.Digest.String()
	}
	if img.Descriptor.Platform != nil {
		name += "  " + ocijson.PlatformText(img.Descriptor.Platform)
	}
	return name
}

// Text lists images for people, one a line.
func Text(images []Image) string {
	var out strings.Builder
	for _, img := range images {
		fmt.Fprintf(&out, "%s  %s  used %s", human.Plain(img.Title()), human.Size(img.Size), img.Used.UTC().Format(time.DateOnly))
		if n := len(img.Missing); n > 0 {
			fmt.Fprintf(&out, "  %s missing", human.Count(n, "blob"))
		}
		out.WriteByte('\n')
	}
	return out.String()
}

// Objects describes images for programs: an object for each.
func Objects(images []Image) []any {
	list := make([]any, len(images))
	for i, img := range images {
		missing := make([]any, len(img.Missing))
		for n, d := range img.Missing {
			missing[n] = d.String()
		}
		o := &ordjson.Object{Members: []ordjson.Member{
			{Key: "kind", Value: "image"},
			{Key: "name", Value: img.Name},
			{Key: "fullName", Value: img.FullName},
			{Key: "digest", Value: img.Descriptor.Digest.String()},
			{Key: "mediaType", Value: img.Descriptor.MediaType},
			{Key: "size", Value: json.Number(strconv.FormatInt(img.Size, 10))},
			{Key: "used", Value: img.Used.UTC().Format(time.RFC3339)},
			{Key: "missing", Value: missing},
		}}
		if img.Descriptor.Platform != nil {
			o.Set("platform", ocijson.PlatformText(img.Descriptor.Platform))
		}
		list[i] = o
	}
	return list
}
