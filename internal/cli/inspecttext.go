package cli

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/internal/ocijson"
)

// shownPlaces is how many parts of a layer people are shown.
const shownPlaces = 8

// text describes the image for people.
func (img *inspected) text() string {
	var b strings.Builder
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-10s%s\n", key, value)
		}
	}
	for _, name := range img.Names {
		line("image", human.Plain(name))
	}
	line("id", digest.FromBytes(img.ConfigJSON).String())
	line("manifest", img.ManifestDescriptor.Digest.String())
	line("index", img.Index().String())
	line("created", img.field("created"))
	own := img.ConfigPlatform()
	line("platform", human.Plain(ocijson.PlatformText(&own)))
	var size int64
	for _, l := range img.layers {
		size += l.info.Size
	}
	line("size", human.Size(size)+" in "+human.Count(len(img.layers), "layer"))
	img.configText(&b)
	history := img.history()
	for i, l := range img.layers {
		fmt.Fprintf(&b, "\nlayer %d/%d  %s\n", i+1, len(img.layers), l.text())
		if i < len(history) {
			b.WriteString(historyText(history[i]))
		}
		l.placesText(&b)
	}
	return b.String()
}

func (img *inspected) field(key string) string {
	v, _ := img.Config.Get(key)
	s, _ := v.(string)
	return human.Plain(s)
}

func (img *inspected) configText(b *strings.Builder) {
	v, _ := img.Config.Get("config")
	config, ok := v.(*ordjson.Object)
	if !ok || len(config.Members) == 0 {
		return
	}
	b.WriteString("\nconfig\n")
	for _, m := range config.Members {
		fmt.Fprintf(b, "  %-14s%s\n", human.Plain(m.Key), compact(m.Value))
	}
}

// history returns the history entries of the layers: those that are not said
// to be empty.
func (img *inspected) history() []*ordjson.Object {
	v, _ := img.Config.Get("history")
	list, _ := v.([]any)
	var layers []*ordjson.Object
	for _, item := range list {
		o, _ := item.(*ordjson.Object)
		if empty, _ := o.Get("empty_layer"); empty != true {
			layers = append(layers, o)
		}
	}
	return layers
}

func historyText(o *ordjson.Object) string {
	var b strings.Builder
	for _, key := range []string{"created", "created_by", "comment"} {
		v, _ := o.Get(key)
		if s, _ := v.(string); s != "" {
			fmt.Fprintf(&b, "  %-12s%s\n", key, human.Plain(s))
		}
	}
	return b.String()
}

func (l *inspectedLayer) text() string {
	text := l.info.DiffID.String() + "  " + human.Size(l.info.Size)
	if d := l.Stored(); d.Digest != "" && d.Digest != l.info.DiffID {
		text += fmt.Sprintf("\n  stored as   %s  %s  %s", d.Digest, human.Size(d.Size), human.Plain(d.MediaType))
	}
	return text
}

func (l *inspectedLayer) placesText(b *strings.Builder) {
	s := l.summary
	fmt.Fprintf(b, "  %s, %s of %s", entries(s.Entries), human.Count(s.Files, "file"), human.Size(s.Bytes))
	if s.Whiteouts > 0 {
		b.WriteString(", " + human.Count(s.Whiteouts, "deletion"))
	}
	b.WriteByte('\n')
	for i, p := range s.Places {
		if i == shownPlaces {
			fmt.Fprintf(b, "    … and %d more\n", len(s.Places)-i)
			break
		}
		fmt.Fprintf(b, "    %s  %s", human.Plain(p.Path), human.Size(p.Bytes))
		if p.Files > 1 {
			fmt.Fprintf(b, "  %d files", p.Files)
		}
		b.WriteByte('\n')
	}
}

func entries(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}

// printJSON prints the images as a list.
func (g *global) printJSON(images []*inspected) error {
	list := make([]any, len(images))
	for i, img := range images {
		list[i] = img.object()
	}
	data, err := ordjson.Marshal(list)
	if err != nil {
		return err
	}
	return g.print(string(data) + "\n")
}

func (img *inspected) object() *ordjson.Object {
	names := make([]any, len(img.Names))
	for i, n := range img.Names {
		names[i] = n
	}
	o := &ordjson.Object{}
	o.Set("names", names)
	o.Set("id", digest.FromBytes(img.ConfigJSON).String())
	if d := img.ManifestDescriptor.Digest; d != "" {
		o.Set("manifest", d.String())
	}
	if d := img.Index(); d != "" {
		o.Set("index", d.String())
	}
	own := img.ConfigPlatform()
	o.Set("platform", ocijson.PlatformText(&own))
	layers := make([]any, len(img.layers))
	for i, l := range img.layers {
		layers[i] = l.object()
	}
	o.Set("layers", layers)
	o.Set("config", img.Config)
	return o
}

func (l *inspectedLayer) object() *ordjson.Object {
	o := &ordjson.Object{}
	if d := l.Stored(); d.Digest != "" {
		o.Set("digest", d.Digest.String())
		o.Set("mediaType", d.MediaType)
		o.Set("size", number(d.Size))
	}
	o.Set("diffID", l.info.DiffID.String())
	o.Set("uncompressedSize", number(l.info.Size))
	o.Set("entries", number(l.summary.Entries))
	o.Set("files", number(l.summary.Files))
	o.Set("whiteouts", number(l.summary.Whiteouts))
	places := make([]any, len(l.summary.Places))
	for i, p := range l.summary.Places {
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

// compact is a value as JSON on one line.
func compact(v any) string {
	data, err := ordjson.Marshal(v)
	if err != nil {
		return ""
	}
	var out strings.Builder
	for i, line := range strings.Split(string(data), "\n") {
		text := strings.TrimLeft(line, " ")
		if i > 0 && out.Len() > 0 && strings.HasSuffix(out.String(), ",") {
			out.WriteByte(' ')
		}
		out.WriteString(text)
	}
	return out.String()
}
