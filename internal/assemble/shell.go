package assemble

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/varve-image/varve/internal/arch"
	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/nixstore/drv"
	"github.com/varve-image/varve/internal/problems"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// ShellOptions describes an image that is to a derivation what nix-shell is.
type ShellOptions struct {
	// Derivation is what the shell's environment is that of.
	Derivation *drv.Derivation
	// StoreDir is the store directory, Root what is put before it to find it.
	StoreDir, Root string
	// Shell is the bash of the image; empty for the derivation's builder, if
	// that is one. Coreutils is the store path whose bin/env is /usr/bin/env;
	// empty for none. CACertificates is a bundle; empty for none.
	Shell, Coreutils, CACertificates string
	// UID and GID are the user that the image runs as.
	UID, GID uint32
	// Home is that user's home directory; empty for /build.
	Home string
	// Command is what an interactive shell runs before it ends; Run is what one
	// that is not interactive runs. At most one of them is set.
	Command, Run string
}

// Shell is what an image of a derivation's environment is made of.
type Shell struct {
	// Spec is the image's spec as JSON, to which other fields may be added.
	Spec []byte
	// Files are the files that the spec cannot name, for Options.
	Files []*tree.Entry
	// Absent are the derivation's outputs, for Options.
	Absent []string
}

const (
	// shellDir is where the shell's own files are in the image.
	shellDir = "usr/lib/nix-shell"
	// sandboxDir is where Nix's sandbox builds.
	sandboxDir = "/build"
)

// NixShell describes the image of a derivation's environment, as dockerTools'
// streamNixShellImage does: the environment that its builder would have, a
// shell that sets itself up as nix-shell does, and the command buildDerivation.
// Every input has to be in the store. The outputs are not in the image, so that
// they can be built there.
func NixShell(ctx context.Context, o ShellOptions) (*Shell, error) {
	s := &shell{ShellOptions: o, files: map[string]string{}}
	for _, step := range []func() error{s.check, s.checkEnvironment, s.fillPlaceholders, s.inputs} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	text, err := s.spec()
	if err != nil {
		return nil, err
	}
	made := &Shell{Spec: text, Files: s.tree()}
	for _, out := range o.Derivation.Outputs {
		made.Absent = append(made.Absent, out.Path)
	}
	return made, nil
}

// shell is an image of a shell that is being put together.
type shell struct {
	ShellOptions
	// files are the contents of files in shellDir by name.
	files map[string]string
}

// check refuses what no shell can be made of, and fills in defaults.
func (s *shell) check() error {
	d := s.Derivation
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
		return fmt.Errorf("its builder %q is no bash: say which one the image is to have", d.Builder)
	}
	for _, p := range []string{s.Shell, s.Home} {
		if p != "" && !path.IsAbs(p) || strings.ContainsAny(p, ":\n\x00") {
			return fmt.Errorf("%q is no absolute path that a list of users can hold", p)
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
	for _, v := range s.Derivation.Env {
		switch {
		case v.Name == "" || strings.ContainsAny(v.Name, "=\x00"):
			bad.Addf("variable %.100q: no environment can hold this name", v.Name)
		case !utf8.ValidString(v.Name) || !utf8.ValidString(v.Value) && !slices.Contains(s.asFiles(), v.Name):
			bad.Addf("variable %.100q is not UTF-8, as an image's config has to be", v.Name)
		}
	}
	for _, out := range s.Derivation.Outputs {
		if strings.ContainsAny(out.Name, "=\n\x00") || !utf8.ValidString(out.Name) {
			bad.Addf("output %.100q: no environment can hold this name", out.Name)
		}
	}
	return bad.Err()
}

// fillPlaceholders puts the outputs' paths where the derivation has
// builtins.placeholder's texts for them, as Nix does before it builds.
func (s *shell) fillPlaceholders() error {
	var texts []string
	for _, out := range s.Derivation.Outputs {
		sum := sha256.Sum256([]byte("nix-output:" + out.Name))
		texts = append(texts, "/"+nixstore.Base32(sum[:]), out.Path)
	}
	fill := strings.NewReplacer(texts...).Replace
	d := *s.Derivation
	d.Builder, d.Args, d.Env = fill(d.Builder), slices.Clone(d.Args), slices.Clone(d.Env)
	for i := range d.Args {
		d.Args[i] = fill(d.Args[i])
	}
	for i := range d.Env {
		d.Env[i].Value = fill(d.Env[i].Value)
	}
	s.Derivation = &d
	return nil
}

// asFiles are the names of the variables that are passed as files.
func (s *shell) asFiles() []string {
	names, _ := s.Derivation.Get("passAsFile")
	return strings.Fields(names)
}

// inputs lists what the derivation needs, which makes it part of the image's
// closure, and checks that it is there.
func (s *shell) inputs() error {
	paths := slices.Clone(s.Derivation.Sources)
	for _, in := range s.Derivation.Inputs {
		d, err := drv.Read(s.StoreDir, s.Root, in.Path)
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
	for _, p := range sorted(paths) {
		if _, err := os.Lstat(s.Root + p); err != nil {
			bad.Addf("its input %q is not in the store: build it first, as \"nix-shell --run true\" does", p)
		}
	}
	s.files["inputs"] = strings.Join(append(sorted(paths), ""), "\n")
	return bad.Err()
}

// environment is the image's: what every build has and the derivation may
// change, the derivation's own, and what every build has for sure.
func (s *shell) environment() map[string]string {
	env := map[string]string{"PATH": s.path(), "HOME": s.Home, "NIX_STORE": s.StoreDir, "NIX_BUILD_CORES": "1"}
	if s.CACertificates != "" {
		env["SSL_CERT_FILE"] = "/etc/ssl/certs/ca-bundle.crt"
		if _, _, ok := nixstore.InStore(s.StoreDir, s.CACertificates); ok {
			env["SSL_CERT_FILE"] = s.CACertificates
		}
		env["NIX_SSL_CERT_FILE"] = env["SSL_CERT_FILE"]
	}
	for _, v := range s.Derivation.Env {
		if !slices.Contains(s.asFiles(), v.Name) {
			env[v.Name] = v.Value
			continue
		}
		sum := sha256.Sum256([]byte(v.Name))
		name := ".attr-" + nixstore.Base32(sum[:]) // as Nix calls it
		s.files[name] = v.Value
		env[v.Name+"Path"] = "/" + shellDir + "/" + name
	}
	for _, out := range s.Derivation.Outputs {
		env[out.Name] = out.Path
	}
	for _, name := range []string{"NIX_BUILD_TOP", "PWD", "TEMP", "TEMPDIR", "TMP", "TMPDIR"} {
		env[name] = sandboxDir
	}
	env["TERM"] = "xterm-256color"
	return env
}

// path has the shell and buildDerivation.
func (s *shell) path() string { return path.Dir(s.Shell) + ":/" + shellDir + "/bin" }

// rc is what the shell reads first: it sets itself up as nix-shell's does
// (src/nix-build/nix-build.cc of Nix).
func (s *shell) rc() string {
	lines := []string{
		"unset PATH",
		"dontAddDisableDepTrack=1",
		`[ -e "$stdenv/setup" ] && source "$stdenv/setup"`,
		"PATH=" + quoteShell(s.path()) + `"${PATH:+:$PATH}"`,
		"SHELL=" + quoteShell(s.Shell),
		"BASH=" + quoteShell(s.Shell),
		"set +e",
		`[ -n "$PS1" ] && [ -z "$NIX_SHELL_PRESERVE_PROMPT" ] && PS1='\n\[\033[1;32m\][nix-shell:\w]\$\[\033[0m\] '`,
		`if [ "$(type -t runHook)" = function ]; then runHook shellHook; fi`,
		"unset NIX_ENFORCE_PURITY",
		"shopt -u nullglob",
		"shopt -s execfail",
	}
	if last := s.Command + s.Run; last != "" {
		lines = append(lines, last, "exit")
	}
	return strings.Join(lines, "\n") + "\n"
}

// architecture is what Go calls the derivation's machine. One that it does not know
// is handed on for the spec to refuse: left out, it would be this one.
func (s *shell) architecture() string {
	machine, _, _ := strings.Cut(s.Derivation.System, "-")
	if goarch, _, ok := arch.Lookup(machine); ok {
		return goarch
	}
	return machine
}

// spec is the image's spec.
func (s *shell) spec() ([]byte, error) {
	env := s.environment()
	var variables []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		variables = append(variables, name+"="+env[name])
	}
	rc := "/" + shellDir + "/rc"
	cmd := []string{s.Shell, "--rcfile", rc}
	if s.Run != "" {
		cmd = []string{s.Shell, rc}
	}
	uid, gid := strconv.Itoa(int(s.UID)), strconv.Itoa(int(s.GID))
	presets := []any{
		map[string]any{"binSh": s.Shell},
		map[string]any{"nss": map[string]any{
			"extraPasswdLines": []string{"nixbld:x:" + uid + ":" + gid + ":Build user:" + s.Home + ":/noshell"},
			"extraGroupLines":  []string{"nixbld:!:" + gid + ":"},
		}},
	}
	if s.Coreutils != "" {
		presets = append(presets, map[string]any{"usrBinEnv": s.Coreutils + "/bin/env"})
	}
	if _, _, ok := nixstore.InStore(s.StoreDir, s.CACertificates); s.CACertificates != "" && !ok {
		presets = append(presets, map[string]any{"caCertificates": s.CACertificates})
	}
	return json.Marshal(map[string]any{
		"name": s.name(), "architecture": s.architecture(), "presets": presets,
		"layering": spec.Auto, "closureRoots": spec.RootsImage, // as dockerTools
		"config": map[string]any{"User": uid + ":" + gid, "WorkingDir": sandboxDir, "Cmd": cmd, "Env": variables},
	})
}

// name is the image's name unless another one is given: the derivation's, in
// characters that the names of images may have.
func (s *shell) name() string {
	name, _ := s.Derivation.Get("name")
	name = strings.Trim(strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && (r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '.' || r == '-' || r == '_') {
			return r
		}
		return '-'
	}, name), "-._")
	return cmp.Or(name, "shell") + "-env"
}

// tree is what the image has besides: the shell's files, and directories.
func (s *shell) tree() []*tree.Entry {
	s.files["rc"] = s.rc()
	command := []string{quoteShell(s.Derivation.Builder)}
	for _, arg := range s.Derivation.Args {
		command = append(command, quoteShell(arg))
	}
	// /bin/sh is the shell; its own path may be more than a first line can hold.
	s.files["bin/buildDerivation"] = "#!/bin/sh\nexec " + strings.Join(command, " ") + "\n"
	entries := s.directories()
	for name, text := range s.files {
		e := tree.NewFile(shellDir+"/"+name, 0o644, text)
		if path.Dir(name) == "bin" {
			e.Mode = 0o755
		}
		entries = append(entries, e)
	}
	for _, e := range entries {
		e.Source = "nix-shell"
	}
	tree.Sort(entries)
	return entries
}

// directories are the user's: where it builds, and what a Nix without a daemon
// writes to. The store is one that every user may build into.
func (s *shell) directories() []*tree.Entry {
	prefix := path.Dir(s.StoreDir)
	var entries []*tree.Entry
	for _, name := range []string{sandboxDir, prefix, s.StoreDir, path.Join(prefix, "var"), path.Join(prefix, "var/nix"), "/etc/nix"} {
		if name == "/" { // of a store that is in the root
			continue
		}
		e := tree.NewDir(strings.TrimPrefix(name, "/"), 0o755)
		if e.UID, e.GID = s.UID, s.GID; name == s.StoreDir {
			e.Mode = 0o1777
		}
		entries = append(entries, e)
	}
	return entries
}

// quoteShell quotes a word for a shell.
func quoteShell(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
