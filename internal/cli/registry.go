package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/distribution/reference"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/place/registry"
	"github.com/varve-image/varve/internal/regfile"
)

// registryFlags say how a registry is spoken to.
type registryFlags struct {
	username      string
	passwordStdin bool
	insecure      []string
	caFile        string
	platform      string
}

func (r *registryFlags) register(f *pflag.FlagSet) {
	f.StringVar(&r.username, "username", "", "`user` to log in to the registry as")
	f.BoolVar(&r.passwordStdin, "password-stdin", false, "read the password from standard input")
	f.StringArrayVar(&r.insecure, "insecure", nil, "`HOST[:PORT]` that may be spoken to in http (but for logins), or https with any certificate; repeatable")
	f.StringVar(&r.caFile, "ca-file", "", "`file` with certificates of authorities to trust besides the machine's")
	f.StringVar(&r.platform, "platform", "", "`OS/ARCH[/VARIANT]` to choose of several, or to build for (default: linux and this machine's)")
}

// registryOptions puts the flags and the environment together, for the registry
// of an image.
func (g *global) registryOptions(ref string) (registry.Options, error) {
	r := &g.registry
	opts := registry.Options{
		Username: r.username, LoginFrom: "--username", InsecureHosts: r.insecure, CAFile: r.caFile, AuthFiles: g.authFiles(),
		Proxy: http.ProxyFromEnvironment, UserAgent: "varve/" + versionText(),
	}
	if r.passwordStdin != (r.username != "") {
		return opts, usageError(errors.New("--username and --password-stdin go together"))
	}
	if r.passwordStdin && g.password == "" {
		if err := g.takeStdin("a password"); err != nil {
			return opts, err
		}
		line, err := bufio.NewReader(io.LimitReader(g.streams.In, 4096)).ReadString('\n')
		if err != nil && err != io.EOF {
			return opts, fmt.Errorf("read the password from standard input: %w", err)
		}
		if g.password = strings.TrimRight(line, "\r\n"); g.password == "" {
			return opts, usageError(errors.New("--password-stdin: standard input holds no password"))
		}
	}
	opts.Password = g.password
	if r.caFile != "" {
		if _, err := os.Stat(r.caFile); err != nil {
			return opts, fileError(fmt.Errorf("--ca-file %q: %w", r.caFile, regfile.Cause(err)))
		}
	}
	return opts, g.checkLogin(ref)
}

// checkLogin refuses to show one registry's password to another. Commands with
// a source and a destination ask it about the destination first.
func (g *global) checkLogin(ref string) error {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil || g.registry.username == "" {
		return nil // whoever opens it says what is wrong with it
	}
	domain := reference.Domain(named)
	if g.loginAt == "" {
		g.loginAt = domain
	}
	if domain != g.loginAt {
		return usageError(hint(fmt.Errorf("--username and --password-stdin are for one registry, and there are two: %q and %q", g.loginAt, domain),
			`log in to each with "docker login" or "podman login"`))
	}
	return nil
}

// checkDestination checks the login for a destination in a registry.
func (g *global) checkDestination(d *destination) error {
	if d.Transport != place.Registry {
		return nil
	}
	return g.checkLogin(d.Name)
}

// authFiles are the places of Docker's and Podman's credentials.
func (g *global) authFiles() []string {
	var files []string
	add := func(variable string, rest ...string) {
		if dir, ok := g.streams.LookupEnv(variable); ok && dir != "" {
			files = append(files, filepath.Join(append([]string{dir}, rest...)...))
		}
	}
	add("REGISTRY_AUTH_FILE")
	add("XDG_RUNTIME_DIR", "containers", "auth.json")
	add("XDG_CONFIG_HOME", "containers", "auth.json")
	add("HOME", ".config", "containers", "auth.json")
	add("DOCKER_CONFIG", "config.json")
	add("HOME", ".docker", "config.json")
	return files
}

// list are the platforms that were asked for.
func (r *registryFlags) list() ([]v1.Platform, error) {
	if r.platform == "" {
		return nil, nil
	}
	var list []v1.Platform
	seen := map[string]bool{}
	for text := range strings.SplitSeq(r.platform, ",") {
		p, err := ocijson.ParsePlatform(text)
		if err != nil {
			return nil, usageError(err)
		}
		if p = ocijson.Normal(p); seen[ocijson.Key(p)] {
			return nil, usageError(fmt.Errorf("platform %q is given twice", text))
		}
		seen[ocijson.Key(p)] = true
		list = append(list, p)
	}
	return list, nil
}

// choice is the platform that is chosen of several.
func (r *registryFlags) choice() (v1.Platform, error) {
	if r.platform == "" {
		return hostPlatform(), nil
	}
	p, err := ocijson.ParsePlatform(r.platform)
	return ocijson.Normal(p), usageError(err)
}

// hostPlatform is the platform of images where nobody says otherwise.
func hostPlatform() v1.Platform { return v1.Platform{OS: "linux", Architecture: hostArchitecture} }
