package inspect

import (
	"fmt"
	"strings"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/internal/ocijson"
)

// shownPlaces is how many places of a layer Text lists.
const shownPlaces = 8

// Text describes the image for people, on several lines.
func (img *Image) Text() string {
	var b strings.Builder
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-10s%s\n", key, value)
		}
	}
	for _, name := range img.Names {
		line("image", human.Plain(name))
	}
	line("id", img.ID.String())
	line("manifest", img.Manifest.String())
	line("index", img.Index.String())
	line("created", human.Plain(img.Created))
	line("platform", human.Plain(ocijson.PlatformText(&img.Platform)))
	line("size", human.Size(img.Size)+" in "+human.Count(len(img.Layers), "layer"))
	img.writeConfig(&b)
	for i := range img.Layers {
		fmt.Fprintf(&b, "\nlayer %d/%d  ", i+1, len(img.Layers))
		img.Layers[i].write(&b)
	}
	return b.String()
}

func (img *Image) writeConfig(b *strings.Builder) {
	v, _ := img.Config.Get("config")
	config, ok := v.(*ordjson.Object)
	if !ok || len(config.Members) == 0 {
		return
	}
	b.WriteString("\nconfig\n")
	for _, m := range config.Members {
		fmt.Fprintf(b, "  %-14s%s\n", human.Plain(m.Key), oneLine(m.Value))
	}
}

func (l *Layer) write(b *strings.Builder) {
	fmt.Fprintf(b, "%s  %s\n", l.DiffID, human.Size(l.Size))
	if d := l.Stored; d.Digest != "" && d.Digest != l.DiffID {
		fmt.Fprintf(b, "  stored as   %s  %s  %s\n", d.Digest, human.Size(d.Size), human.Plain(d.MediaType))
	}
	for _, said := range [][2]string{{"created", l.History.Created}, {"created_by", l.History.CreatedBy}, {"comment", l.History.Comment}} {
		if said[1] != "" {
			fmt.Fprintf(b, "  %-12s%s\n", said[0], human.Plain(said[1]))
		}
	}
	l.writePlaces(b)
}

func (l *Layer) writePlaces(b *strings.Builder) {
	fmt.Fprintf(b, "  %s, %s of %s", entries(l.Entries), human.Count(l.Files, "file"), human.Size(l.Bytes))
	if l.Whiteouts > 0 {
		b.WriteString(", " + human.Count(l.Whiteouts, "deletion"))
	}
	b.WriteByte('\n')
	for i, p := range l.Places {
		if i == shownPlaces {
			fmt.Fprintf(b, "    … and %d more\n", len(l.Places)-i)
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

// oneLine returns a value as JSON on one line, with spaces after commas and
// colons.
func oneLine(v any) string {
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
