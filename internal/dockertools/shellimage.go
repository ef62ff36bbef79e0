package dockertools

import (
	"cmp"
	"crypto/sha256"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/varve-image/varve/internal/arch"
	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// environment returns the image's variables: defaults for every build, which the
// derivation may change, then the derivation's own, then those that are fixed for
// every build.
func (s *shell) environment() map[string]string {
	env := map[string]string{"PATH": s.path(), "HOME": s.Home, "NIX_STORE": s.storeDir, "NIX_BUILD_CORES": "1"}
	if s.CACertificates != "" {
		env["SSL_CERT_FILE"] = "/etc/ssl/certs/ca-bundle.crt"
		if _, _, ok := nixstore.InStore(s.storeDir, s.CACertificates); ok {
			env["SSL_CERT_FILE"] = s.CACertificates
		}
		env["NIX_SSL_CERT_FILE"] = env["SSL_CERT_FILE"]
	}
	for _, v := range s.drv.Env {
		if !slices.Contains(s.asFiles(), v.Name) {
			env[v.Name] = v.Value
			continue
		}
		sum := sha256.Sum256([]byte(v.Name))
		name := ".attr-" + nixstore.Base32(sum[:]) // the name that Nix gives it
		s.files[name] = v.Value
		env[v.Name+"Path"] = "/" + shellDir + "/" + name
	}
	for _, out := range s.drv.Outputs {
		env[out.Name] = out.Path
	}
	for _, name := range []string{"NIX_BUILD_TOP", "PWD", "TEMP", "TEMPDIR", "TMP", "TMPDIR"} {
		env[name] = sandboxDir
	}
	env["TERM"] = "xterm-256color"
	return env
}

// path returns a PATH with the shell and buildDerivation.
func (s *shell) path() string { return path.Dir(s.Shell) + ":/" + shellDir + "/bin" }

// rc returns the script that the shell reads first: it sets itself up as
// nix-shell's does (src/nix-build/nix-build.cc of Nix).
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

// architecture returns Go's name of the derivation's machine. An unknown one is
// passed on for the spec to refuse: left out, it would mean this machine's.
func (s *shell) architecture() string {
	machine, _, _ := strings.Cut(s.drv.System, "-")
	if goarch, _, ok := arch.Lookup(machine); ok {
		return goarch
	}
	return machine
}

// spec returns the image's spec: its own settings, and those of the options. The content
// of nss cannot be given by a setting.
func (s *shell) spec() (*spec.Spec, error) {
	rc := "/" + shellDir + "/rc"
	cmd := []string{s.Shell, "--rcfile", rc}
	if s.Run != "" {
		cmd = []string{s.Shell, rc}
	}
	uid, gid := strconv.Itoa(int(s.UID)), strconv.Itoa(int(s.GID))
	presets := []string{"binSh=" + s.Shell, "nss"}
	if s.Coreutils != "" {
		presets = append(presets, "usrBinEnv="+s.Coreutils+"/bin/env")
	}
	if _, _, ok := nixstore.InStore(s.storeDir, s.CACertificates); s.CACertificates != "" && !ok {
		presets = append(presets, "caCertificates="+s.CACertificates)
	}
	image, err := s.parse(
		set("name", s.name()), set("architecture", s.architecture()), set("presets", presets...),
		set("layering", string(spec.Auto)), set("closureRoots", string(spec.RootsImage)), set("layerFormat", "1"), // as dockerTools
		set("config.Cmd", cmd...), set("config.Env", s.variables()...),
		set("config.User", uid+":"+gid), set("config.WorkingDir", sandboxDir),
	)
	if err != nil {
		return nil, err
	}
	nss := slices.IndexFunc(image.Presets, func(p spec.Preset) bool { return p.Name == "nss" })
	image.Presets[nss].ExtraPasswdLines = []string{"nixbld:x:" + uid + ":" + gid + ":Build user:" + s.Home + ":/noshell"}
	image.Presets[nss].ExtraGroupLines = []string{"nixbld:!:" + gid + ":"}
	return image, nil
}

func set(field string, values ...string) spec.Setting {
	return spec.Setting{Field: field, Values: values}
}

// variables returns the environment as a config has it, sorted by name.
func (s *shell) variables() []string {
	env := s.environment()
	var list []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

// name returns the image's name unless another one is given: the derivation's, in
// characters that image names may have.
func (s *shell) name() string {
	name, _ := s.drv.Get("name")
	name = strings.Trim(strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && (r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '.' || r == '-' || r == '_') {
			return r
		}
		return '-'
	}, name), "-._")
	return cmp.Or(name, "shell") + "-env"
}

// tree returns the other files of the image: the shell's files, and directories.
func (s *shell) tree() []*tree.Entry {
	s.files["rc"] = s.rc()
	command := []string{quoteShell(s.drv.Builder)}
	for _, arg := range s.drv.Args {
		command = append(command, quoteShell(arg))
	}
	// /bin/sh is the shell; its own path may be too long for a first line.
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

// directories returns the user's directories: where it builds, and what a Nix
// without a daemon writes to. Every user may build into the store.
func (s *shell) directories() []*tree.Entry {
	prefix := path.Dir(s.storeDir)
	var entries []*tree.Entry
	for _, name := range []string{sandboxDir, prefix, s.storeDir, path.Join(prefix, "var"), path.Join(prefix, "var/nix"), "/etc/nix"} {
		if name == "/" { // a store in the root directory
			continue
		}
		e := tree.NewDir(strings.TrimPrefix(name, "/"), 0o755)
		if e.UID, e.GID = s.UID, s.GID; name == s.storeDir {
			e.Mode = 0o1777
		}
		entries = append(entries, e)
	}
	return entries
}

// quoteShell quotes a word for a shell.
func quoteShell(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
