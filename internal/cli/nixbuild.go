package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/dockertools"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/spec"
)

// nixAttrs are the attributes of a derivation whose builder is varve: see
// nix/derivations.nix, which is where they come from.
type nixAttrs struct {
	// Outputs are the paths that the derivation makes, by their names.
	Outputs map[string]string
	// Action is what to do: one of nixActions. Each has its own attributes.
	Action string

	// files
	Files map[string]nixFile
	// image, stream, layer, top
	Spec string
	Tag  string
	// top: a file with what buildImage's layer is to say of the image.
	BaseJSON string
	// stream, program: the path of this program in the store.
	Varve string
	// archive, layout, export: an image; merge: images; tree: directories and
	// tarballs.
	Image           string
	Images, Sources []string
	// export, overlay: which of the archive's images; empty for the first.
	FromImageName, FromImageTag string
	// archive, merge
	Compressor string
	// export, overlay: the time of all files, in seconds since 1970.
	MTime int64
	// overlay: scripts, and what runs them
	PreMount, PostMount, PostUmount, Shell, Path string
	// pull
	RepoTag, Reference, Platform, CAFile string
	Insecure                             bool
}

// nixFile is a file that is made of a text, a symlink, or a directory.
type nixFile struct {
	Text, Link            string
	Executable, Directory bool
}

// nixActions are what nix-build does, each by the command that does it
// elsewhere.
var nixActions = map[string]func(context.Context, *global, *nixAttrs) error{
	"files":   func(_ context.Context, _ *global, a *nixAttrs) error { return writeNixFiles(a.Outputs["out"], a.Files) },
	"image":   nixImage,
	"stream":  nixStream,
	"layer":   nixLayer,
	"top":     nixTopLayer,
	"archive": nixArchive,
	"layout":  nixLayout,
	"merge":   nixMerge,
	"export":  nixExport,
	"pull":    nixPull,
	"tree":    nixTree,
	"overlay": nixOverlay,
}

// newNixBuild is the builder of the derivations that the Nix expressions make.
// Nobody else calls it.
func newNixBuild(g *global) *cobra.Command {
	return &cobra.Command{
		Use:    "nix-build",
		Short:  "Build a derivation of varve's Nix expressions, from .attrs.json",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := readNixAttrs(g)
			if err != nil {
				return err
			}
			act, ok := nixActions[a.Action]
			if !ok {
				return usageError(fmt.Errorf("action %q: expected one of %q", a.Action, slices.Sorted(maps.Keys(nixActions))))
			}
			g.stepLimits.time = 0 // Nix has a clock of its own
			return nixError(a, act(cmd.Context(), g, a))
		},
	}
}

// attrsFile is where Nix puts the attributes of a derivation with
// __structuredAttrs, and the graphs that exportReferencesGraph asks for. In a
// sandbox some versions of Nix name the file by where it is outside.
func attrsFile(g *global) string {
	if file, ok := g.streams.LookupEnv("NIX_ATTRS_JSON_FILE"); ok {
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return ".attrs.json"
}

// maxNixAttrs bounds a derivation's attributes, in bytes: a closure in them may
// have no more.
const maxNixAttrs = 64 << 20

func readNixAttrs(g *global) (*nixAttrs, error) {
	file := attrsFile(g)
	data, err := regfile.Read(file, maxNixAttrs)
	if err != nil {
		return nil, fileError(fmt.Errorf("read the derivation's attributes: %q: %w", file, regfile.Cause(err)))
	}
	a := &nixAttrs{}
	if err := json.Unmarshal(data, a); err != nil {
		return nil, usageError(fmt.Errorf("read the derivation's attributes %q: %w", file, err))
	}
	if a.Outputs["out"] == "" {
		return nil, usageError(fmt.Errorf("the derivation's attributes %q name no output", file))
	}
	return a, nil
}

// writeNixFiles makes root of files whose names are paths below it; an empty
// name is root itself.
func writeNixFiles(root string, files map[string]nixFile) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if name != "" && !filepath.IsLocal(name) {
			return usageError(fmt.Errorf("file %q is not below the output", name))
		}
		if err := writeNixFile(filepath.Join(root, name), files[name]); err != nil {
			return err
		}
	}
	return nil
}

func writeNixFile(name string, f nixFile) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	switch {
	case f.Link != "":
		return os.Symlink(f.Link, name)
	case f.Directory:
		return os.MkdirAll(name, 0o755)
	}
	mode := os.FileMode(0o644)
	if f.Executable {
		mode = 0o755
	}
	return os.WriteFile(name, []byte(f.Text), mode)
}

// nixSpec is the derivation's spec with what is not in its file: the closure,
// and the tag, which may be the hash of that file's path.
func nixSpec(g *global, a *nixAttrs) *specFlags {
	return &specFlags{settings: []spec.Setting{
		{Field: "tag", Values: []string{a.Tag}},
		{Field: "closure", Values: []string{attrsFile(g)}},
	}}
}

// nixImage is buildImage.
func nixImage(ctx context.Context, g *global, a *nixAttrs) error {
	o := &buildOptions{spec: *nixSpec(g, a), output: string(place.DockerArchive) + ":" + a.Outputs["out"]}
	return runBuild(ctx, g, o, []string{a.Spec})
}

// nixLayer is buildLayer.
func nixLayer(ctx context.Context, g *global, a *nixAttrs) error {
	o := &buildOptions{spec: *nixSpec(g, a), output: string(place.LayerDir) + ":" + a.Outputs["out"]}
	return runBuild(ctx, g, o, []string{a.Spec})
}

// nixStream is streamLayeredImage: the output layer has the top layer, the
// output out is a program that writes the image to standard output.
func nixStream(ctx context.Context, g *global, a *nixAttrs) error {
	first, err := firstLine(a.Varve, "stream")
	if err != nil {
		return fmt.Errorf("program %q: %w", a.Outputs["out"], err)
	}
	result, err := nixTop(ctx, g, a, a.Outputs["layer"])
	if err != nil {
		return err
	}
	defer result.Close()
	conf, err := dockertools.ConfJSON(result, a.Outputs["layer"])
	if err != nil {
		return err
	}
	return writeNixFile(a.Outputs["out"], nixFile{Text: first + "\n" + string(conf), Executable: true})
}

// nixTopLayer is the attribute layer of buildImage.
func nixTopLayer(ctx context.Context, g *global, a *nixAttrs) error {
	result, err := nixTop(ctx, g, a, a.Outputs["out"])
	if err != nil {
		return err
	}
	if err := result.Close(); err != nil || a.BaseJSON == "" {
		return err
	}
	return writeLayerJSON(ctx, a.Outputs["out"], a.BaseJSON, g.streams.Now())
}

// nixTop describes the image of the derivation's spec, and writes its top layer
// into the new directory dir.
func nixTop(ctx context.Context, g *global, a *nixAttrs, dir string) (*assemble.Result, error) {
	flags := nixSpec(g, a)
	in, err := flags.read(g, []string{a.Spec})
	if err != nil {
		return nil, err
	}
	result, err := buildSpec(ctx, g, flags, in)
	if err != nil {
		return nil, err
	}
	if err = writeTopLayer(ctx, result.Image, dir); err != nil {
		result.Close()
		return nil, err
	}
	return result, nil
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

// maxFirstLine is how long the first line of a program may be: Linux reads 255
// bytes of it.
const maxFirstLine = 255

// firstLine is that of a program which is run by a command of varve, which gets
// its name and the arguments. nix/lib.nix has the same rule, for errors before
// anything is built.
func firstLine(varve, command string) (string, error) {
	line := "#!" + varve + " " + command
	if len(line) > maxFirstLine || strings.ContainsAny(varve, " \t\n") {
		return "", fmt.Errorf("no program can begin with the line %q: at most %d bytes are read, and a space ends the interpreter's name; give a shorter path, without spaces", line, maxFirstLine)
	}
	return line, nil
}

// nixConf is the image of a program that streamLayeredImage made.
func nixConf(ctx context.Context, g *global, a *nixAttrs) (image.Named, error) {
	in, err := readInput(g, []string{a.Image})
	if err != nil {
		return image.Named{}, err
	}
	return g.confImage(ctx, in, "")
}

// nixArchive is buildLayeredImage: what the program writes, compressed.
func nixArchive(ctx context.Context, g *global, a *nixAttrs) error {
	c, err := compress.Parse(a.Compressor)
	if err != nil {
		return usageError(err)
	}
	img, err := nixConf(ctx, g, a)
	if err != nil {
		return err
	}
	return g.toFile(a.Outputs["out"], func(w io.Writer) error {
		return compressed(w, c, func(w io.Writer) error {
			return dockerarchive.Write(ctx, w, img, dockerarchive.Options{RepeatLayers: true})
		})
	})
}

// nixLayout writes an image as an OCI layout, its layers compressed.
func nixLayout(ctx context.Context, g *global, a *nixAttrs) error {
	c, err := compress.Parse(a.Compressor)
	if err != nil {
		return usageError(err)
	}
	existing, err := nixImageOf(ctx, g, a)
	if err != nil {
		return err
	}
	out := a.Outputs["out"]
	_, err = ocilayout.WriteDir(ctx, named(existing, ""), out, ocilayout.Options{Compression: c, TempDir: filepath.Dir(out)})
	return err
}

// nixMerge is mergeImages.
func nixMerge(ctx context.Context, g *global, a *nixAttrs) error {
	c, err := compress.Parse(a.Compressor)
	if err != nil {
		return usageError(err)
	}
	return runMerge(ctx, g, a.Images, &output{a.Outputs["out"], c})
}

// nixTree is mergeDrvs.
func nixTree(ctx context.Context, g *global, a *nixAttrs) error {
	return runTreeMerge(ctx, g, a.Sources, a.Outputs["out"]+"/")
}

// nixExport is exportImage.
func nixExport(ctx context.Context, g *global, a *nixAttrs) error {
	img, err := nixImageOf(ctx, g, a)
	if err != nil {
		return err
	}
	out := &output{a.Outputs["out"], compress.Compression{Algorithm: compress.None}}
	return g.export(ctx, img.Stored, out, &a.MTime)
}

// nixImageOf opens the derivation's image: without a name the first one of an
// archive.
func nixImageOf(ctx context.Context, g *global, a *nixAttrs) (*place.Image, error) {
	src, name, err := g.openSource(ctx, a.Image)
	if err != nil {
		return nil, err
	}
	platform, err := g.registry.choice()
	if err != nil {
		return nil, err
	}
	if a.FromImageName != "" {
		return place.SelectCalled(ctx, src, a.FromImageName+":"+a.FromImageTag, platform, g.places())
	}
	return g.selectImage(ctx, src, name, platform)
}

// nixPull is pullImage. That the hash is right is for Nix to check.
func nixPull(ctx context.Context, g *global, a *nixAttrs) error {
	g.registry.platform, g.registry.caFile = a.Platform, a.CAFile
	if a.Insecure {
		host, _, _ := strings.Cut(a.Reference, "/")
		g.registry.insecure = []string{host}
	}
	return runPull(ctx, g, &pullOptions{output: a.Outputs["out"], name: a.RepoTag}, a.Reference)
}
