package dockertools

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/spec"
)

// Programs that the Nix expressions make are files whose first line names varve, with one of
// its commands, as their interpreter.

// maxFirstLine is the longest first line of a program: Linux reads 255 bytes of it.
const maxFirstLine = 255

// firstLine returns the first line of a program that is run by a command of varve,
// which gets the program's name and arguments. nix/lib.nix has the same rule, for
// errors before anything is built.
func firstLine(varve, command string) (string, error) {
	line := "#!" + varve + " " + command
	if len(line) > maxFirstLine || strings.ContainsAny(varve, " \t\n") {
		return "", fmt.Errorf("no program can begin with the line %q: at most %d bytes are read, and a space ends the interpreter's name; give a shorter path, without spaces", line, maxFirstLine)
	}
	return line, nil
}

// WithoutInterpreter empties the line that makes a file a program: "#!" and the
// interpreter.
func WithoutInterpreter(data []byte) []byte {
	if !bytes.HasPrefix(data, []byte("#!")) {
		return data
	}
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return data[i:]
	}
	return nil
}

// ProgramArgs returns the arguments with which a program begins its command line; the
// program's own arguments follow.
func ProgramArgs(file string) ([]string, error) {
	data, err := regfile.Read(file, spec.MaxSize)
	if err != nil {
		return nil, fileError(fmt.Errorf("read program %q: %w", file, regfile.Cause(err)))
	}
	var p struct {
		Args []string `json:"args"`
	}
	if err := json.Unmarshal(WithoutInterpreter(data), &p); err != nil {
		return nil, inputErrorf("read program %q: %w", file, err)
	}
	return p.Args, nil
}

// readSpec reads a spec, or a conf.json, which may be a program.
func readSpec(file string) ([]byte, error) {
	data, err := regfile.Read(file, spec.MaxSize)
	if err != nil {
		return nil, fileError(fmt.Errorf("read spec %q: %w", file, regfile.Cause(err)))
	}
	return WithoutInterpreter(data), nil
}

// OpenConf describes the image of the conf.json in a file, such as a program made
// by streamLayeredImage.
func (t *Tools) OpenConf(ctx context.Context, file string) (image.Named, error) {
	data, err := readSpec(file)
	if err != nil {
		return image.Named{}, err
	}
	return t.Conf(ctx, file, data, "")
}

// Conf describes the image of a conf.json. name is used in messages; repoTag, if not empty,
// replaces the name and tag in it.
func (t *Tools) Conf(ctx context.Context, name string, data []byte, repoTag string) (image.Named, error) {
	conf, err := ParseConf(data)
	if err != nil {
		return image.Named{}, inputErrorf("%s: %w", name, err)
	}
	img, err := conf.Image(ctx, ConfOptions{
		Root: t.opts.Root, StoreRoot: t.opts.StoreRoot, RepoTag: repoTag, Now: t.opts.Now(), Memo: t.places().LayerMemo(ctx),
		OpenBase: func(ctx context.Context, file string) (*image.Stored, error) {
			src, err := place.OpenPath(ctx, place.Unknown, file, t.places())
			if err != nil {
				return nil, err
			}
			t.keep(src)
			base, err := place.Select(ctx, src, "", conf.Platform(), t.places())
			if err != nil {
				return nil, err
			}
			return base.Stored, nil
		},
	})
	if err != nil {
		return image.Named{}, fmt.Errorf("%s: %w", name, err)
	}
	return img, nil
}

// Program opens the image that a program would write.
func (t *Tools) Program(ctx context.Context, file string) (image.Source, error) {
	img, err := t.OpenConf(ctx, file)
	if err != nil {
		return nil, err
	}
	names, err := img.Tagged(ctx)
	if err != nil {
		return nil, err
	}
	stored, err := image.AsStored(ctx, img)
	if err != nil {
		return nil, err
	}
	return program{file, stored, names.RepoTags}, nil
}

// program is the source of the image that a program would write.
type program struct {
	path  string
	image *image.Stored
	names []string
}

func (p program) String() string                                   { return fmt.Sprintf("program %q", p.path) }
func (p program) List() []image.Listed                             { return []image.Listed{{Names: p.names}} }
func (p program) Open(context.Context, int) (*image.Stored, error) { return p.image, nil }
func (p program) Close() error                                     { return nil }
