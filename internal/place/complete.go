package place

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/varve-image/varve/internal/compress"
)

// Complete returns completions of the start of a reference to an image: transports, existing
// directories and archives, the images in a place, and for a registry those in known. A place
// that cannot be read has none.
func Complete(ctx context.Context, text string, known []string, opts Options) []string {
	found := imagesAt(ctx, text, known, opts)
	if !strings.ContainsAny(text, ":/") {
		found = append(startingWith(text, imageStarts()), found...)
	}
	return found
}

// imageStarts returns how references to images begin. A layer alone is not an image.
func imageStarts() []string {
	return slices.DeleteFunc(Names(), func(start string) bool { return transportOf(start) == LayerDir })
}

// transportOf returns the transport whose references begin with start.
func transportOf(start string) Transport { return Transport(strings.TrimRight(start, ":/")) }

// imagesAt returns completions of text, which may begin with a transport.
func imagesAt(ctx context.Context, text string, known []string, opts Options) []string {
	all := imageStarts()
	i := slices.IndexFunc(all, func(start string) bool { return strings.HasPrefix(text, start) })
	if i < 0 {
		return paths("", text, true)
	}
	start, rest := all[i], strings.TrimPrefix(text, all[i])
	switch t := transportOf(start); {
	case t == Registry:
		return startingWith(text, after(start, known))
	case t.IsEngine():
		return startingWith(text, after(start, namesAt(ctx, Ref{Transport: t}, opts)))
	case t == OCIDir && strings.Contains(rest, ":"):
		dir, _, _ := strings.Cut(rest, ":")
		return startingWith(text, after(start+dir+":", namesAt(ctx, Ref{Transport: t, Path: dir}, opts)))
	default:
		return paths(start, rest, t == DockerArchive || t == OCIArchive)
	}
}

// namesAt returns the names of the images of a place.
func namesAt(ctx context.Context, ref Ref, opts Options) []string {
	names, err := List(ctx, ref, opts)
	if err != nil { // completion cannot report it
		return nil
	}
	return names
}

// after puts start before each of names.
func after(start string, names []string) []string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = start + name
	}
	return all
}

// paths returns the directories, and archives if archives is set, whose path begins with text,
// each after start.
func paths(start, text string, archives bool) []string {
	dir, begun := filepath.Split(text)
	entries, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return nil
	}
	var found []string
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, begun) || begun == "" && strings.HasPrefix(name, ".") {
			continue
		}
		if st, err := os.Stat(filepath.Join(dir, name)); err == nil && st.IsDir() {
			found = append(found, start+dir+name+"/")
		} else if _, ok := compress.TarName(name); ok && archives {
			found = append(found, start+dir+name)
		}
	}
	return found
}

func startingWith(text string, all []string) []string {
	return slices.DeleteFunc(all, func(s string) bool { return !strings.HasPrefix(s, text) })
}
