package dockertools

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/nixstore/drv"
	"github.com/varve-image/varve/internal/problems"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// ShellOptions describes an image that does for a derivation what nix-shell does.
type ShellOptions struct {
	// Spec holds the settings for the image's spec, which override the derivation's.
	Spec spec.Options
	// Root is put before absolute paths to find the files; StoreRoot, if not empty, before
	// those in the store instead.
	Root, StoreRoot string
	// Shell is the image's bash; empty for the derivation's builder, if that is a
	// bash. Coreutils is the store path whose bin/env is /usr/bin/env; empty for
	// none. CACertificates is a bundle; empty for none.
	Shell, Coreutils, CACertificates string
	// UID and GID are the user that the image runs as.
	UID, GID uint32
	// Home is that user's home directory; empty for /build.
	Home string
	// Command is run by an interactive shell before it ends; Run is run by one that
	// is not interactive. At most one of them is set.
	Command, Run string
}

// Shell describes an image of a derivation's environment.
type Shell struct {
	Spec *spec.Spec
	// Files are the files that the spec cannot name, for assemble.Options.
	Files []*tree.Entry
	// Absent are the derivation's outputs, for assemble.Options.
	Absent []string
}

const (
	// shellDir is where the shell's own files are in the image.
	shellDir = "usr/lib/nix-shell"
	// sandboxDir is where Nix's sandbox builds.
	sandboxDir = "/build"
)

// NixShell describes the image of the environment of the derivation in a file, as
// dockerTools' streamNixShellImage does: the environment that its builder would have, a
// shell that sets itself up as nix-shell does, and the command buildDerivation. Every
// input has to be in the store. The outputs are not in the image, so that they can be
// built there. If the request is at fault, the error is an *InputError.
func NixShell(ctx context.Context, file string, o ShellOptions) (*Shell, error) {
	s := &shell{ShellOptions: o, files: map[string]string{}}
	root, err := s.open(file)
	if err != nil {
		return nil, err
	}
	for _, step := range []func() error{s.check, s.checkEnvironment, s.fillPlaceholders, s.inputs, ctx.Err} {
		if err := step(); err != nil {
			return nil, &InputError{fmt.Errorf("shell of derivation %q: %w", root+file, err)}
		}
	}
	image, err := s.spec()
	if err != nil {
		return nil, fmt.Errorf("shell of derivation %q: %w", root+file, err)
	}
	made := &Shell{Spec: image, Files: s.tree()}
	for _, out := range s.drv.Outputs {
		made.Absent = append(made.Absent, out.Path)
	}
	return made, nil
}

// shell is an image of a shell that is being put together.
type shell struct {
	ShellOptions
	// storeDir is the store directory, storeRoot the directory under which it is
	// looked up.
	storeDir, storeRoot string
	// drv is the derivation whose environment the shell has.
	drv *drv.Derivation
	// files are the contents of files in shellDir by name.
	files map[string]string
}

// open reads the derivation in a file, and returns the directory under which the file was
// looked up. Where the store is has to be known before the rest of the spec is.
func (s *shell) open(file string) (root string, err error) {
	settings, err := s.parse(spec.Setting{Field: "name", Values: []string{"shell"}})
	if err != nil {
		return "", err
	}
	at := assemble.Options{Root: s.Root, StoreRoot: s.StoreRoot}
	s.storeDir = settings.StoreDir
	s.storeRoot = at.RootOf(s.storeDir, s.storeDir)
	if filepath.IsAbs(file) {
		root = at.RootOf(s.storeDir, file)
	}
	if _, _, ok := nixstore.InStore(s.storeDir, file); ok {
		s.drv, err = drv.Read(s.storeDir, root, file)
	} else { // symlinks may lead anywhere
		s.drv, err = drv.Read(s.storeDir, "", root+file)
	}
	return root, fileError(err)
}

// parse makes a spec from own and the settings of the options, which come last.
func (s *shell) parse(own ...spec.Setting) (*spec.Spec, error) {
	o := s.Spec
	o.Settings = append(own, o.Settings...)
	return spec.Parse(nil, o)
}

// check refuses what no shell can be made from, and fills in defaults.
func (s *shell) check() error {
	d := s.drv
	if attrs, err := d.Structured(); err != nil || attrs != nil {
		return errors.New("it has structured attributes (__structuredAttrs), which no environment of a shell can hold")
	}
	if s.Command != "" && s.Run != "" {
		return errors.New("command and run are for two kinds of shells: give one of them")
	}
	for _, out := range d.Outputs {
		if out.Path == "" {
			return fmt.Errorf("its output %q has a path that is known only once it is built", out.Name)
		}
	}
	if strings.HasPrefix(d.Builder, "builtin:") {
		return fmt.Errorf("its builder %q is a part of Nix: there is nothing to run in a shell", d.Builder)
	}
	if name := path.Base(d.Builder); s.Shell == "" && (name == "bash" || name == "sh") {
		s.Shell = d.Builder
	}
	if s.Shell == "" {
		return fmt.Errorf("its builder %q is not bash: say which one the image is to have", d.Builder)
	}
	for _, p := range []string{s.Shell, s.Home} {
		if p != "" && !path.IsAbs(p) || strings.ContainsAny(p, ":\n\x00") {
			return fmt.Errorf("%q is not an absolute path that a list of users can hold", p)
		}
	}
	if s.Home == "" {
		s.Home = sandboxDir
	}
	return nil
}

// checkEnvironment refuses variables that an image's config cannot hold.
func (s *shell) checkEnvironment() error {
	var bad problems.List
	for _, v := range s.drv.Env {
		switch {
		case v.Name == "" || strings.ContainsAny(v.Name, "=\x00"):
			bad.Addf("variable %.100q: no environment can hold this name", v.Name)
		case !utf8.ValidString(v.Name) || !utf8.ValidString(v.Value) && !slices.Contains(s.asFiles(), v.Name):
			bad.Addf("variable %.100q is not UTF-8, as an image's config has to be", v.Name)
		}
	}
	for _, out := range s.drv.Outputs {
		if strings.ContainsAny(out.Name, "=\n\x00") || !utf8.ValidString(out.Name) {
			bad.Addf("output %.100q: no environment can hold this name", out.Name)
		}
	}
	return bad.Err()
}

// fillPlaceholders replaces the texts of builtins.placeholder in the derivation
// with the outputs' paths, as Nix does before it builds.
func (s *shell) fillPlaceholders() error {
	var texts []string
	for _, out := range s.drv.Outputs {
		sum := sha256.Sum256([]byte("nix-output:" + out.Name))
		texts = append(texts, "/"+nixstore.Base32(sum[:]), out.Path)
	}
	fill := strings.NewReplacer(texts...).Replace
	d := *s.drv
	d.Builder, d.Args, d.Env = fill(d.Builder), slices.Clone(d.Args), slices.Clone(d.Env)
	for i := range d.Args {
		d.Args[i] = fill(d.Args[i])
	}
	for i := range d.Env {
		d.Env[i].Value = fill(d.Env[i].Value)
	}
	s.drv = &d
	return nil
}

// asFiles returns the names of the variables that are passed as files.
func (s *shell) asFiles() []string {
	names, _ := s.drv.Get("passAsFile")
	return strings.Fields(names)
}

// inputs lists what the derivation needs, which becomes part of the image's
// closure, and checks that it exists.
func (s *shell) inputs() error {
	paths := slices.Clone(s.drv.Sources)
	for _, in := range s.drv.Inputs {
		d, err := drv.Read(s.storeDir, s.storeRoot, in.Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // what the environment mentions of it is found
		}
		if err != nil {
			return err
		}
		for _, out := range d.Outputs {
			if out.Path != "" && slices.Contains(in.Outputs, out.Name) {
				paths = append(paths, out.Path)
			}
		}
	}
	var bad problems.List
	slices.Sort(paths)
	paths = slices.Compact(paths)
	for _, p := range paths {
		if _, err := os.Lstat(s.storeRoot + p); err != nil {
			bad.Addf("its input %q is not in the store: build it first, as \"nix-shell --run true\" does", p)
		}
	}
	s.files["inputs"] = strings.Join(append(paths, ""), "\n")
	return bad.Err()
}
