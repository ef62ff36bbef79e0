package cli

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/place/registry"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/internal/transfer"
)

// registryFlags say how to speak to a registry.
type registryFlags struct {
	username      string
	passwordStdin bool
	insecure      []string
	caFile        string
	platform      string
}

func (r *registryFlags) register(cmd *cobra.Command) {
	registryGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVar(&r.username, "username", "", "log in to the registry as `USER`, with --password-stdin")
		f.BoolVar(&r.passwordStdin, "password-stdin", false, "read the password for --username from standard input")
		f.StringArrayVar(&r.insecure, "insecure", nil, "speak to `HOST[:PORT]` in http (but not to log in), or in https with any certificate")
		f.StringVar(&r.caFile, "ca-file", "", "trust the certificate authorities in `FILE` besides the machine's")
	})
}

// registerPlatform adds the platform flag; text describes it, unset says what holds without it.
func (r *registryFlags) registerPlatform(cmd *cobra.Command, text, unset string) {
	imageGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVar(&r.platform, "platform", "", text)
		cmdline.ShowDefault(f, "platform", unset)
	})
}

// registryOptions combines the flags and the environment, for the registry of an image.
func (c *command) registryOptions(ref string) (registry.Options, error) {
	r := &c.registry
	opts := registry.Options{
		Username: r.username, LoginFrom: "--username", InsecureHosts: r.insecure, CAFile: r.caFile, AuthFiles: registry.AuthFiles(c.streams.Getenv),
		Proxy: http.ProxyFromEnvironment, UserAgent: "varve/" + versionText(),
		Debug: func(text string) { c.ui.Debug("%s", text) },
	}
	if r.passwordStdin != (r.username != "") {
		return opts, cmdline.Usage(errors.New("--username and --password-stdin go together"))
	}
	if r.passwordStdin {
		if err := c.login.readPassword(c.stdin); err != nil {
			return opts, err
		}
	}
	opts.Password = c.login.password
	if r.caFile != "" {
		if _, err := os.Stat(r.caFile); err != nil {
			return opts, cmdline.FileUsage(fmt.Errorf("--ca-file %q: %w", r.caFile, regfile.Cause(err)))
		}
	}
	return opts, c.checkLogin(ref)
}

// checkLogin refuses to send one registry's password to another. Commands with a
// source and a destination check the destination first.
func (c *command) checkLogin(ref string) error {
	if c.registry.username == "" {
		return nil
	}
	return c.login.check(ref)
}

// checkDestination checks the login for a destination in a registry.
func (c *command) checkDestination(d transfer.Destination) error {
	if d.Transport != place.Registry {
		return nil
	}
	return c.checkLogin(d.Name)
}

// list returns the platforms that were asked for.
func (r *registryFlags) list() ([]v1.Platform, error) {
	if r.platform == "" {
		return nil, nil
	}
	var list []v1.Platform
	seen := map[string]bool{}
	for text := range strings.SplitSeq(r.platform, ",") {
		p, err := ocijson.ParsePlatform(text)
		if err != nil {
			return nil, cmdline.Usage(err)
		}
		if p = ocijson.Normal(p); seen[ocijson.Key(p)] {
			return nil, cmdline.Usage(fmt.Errorf("platform %q is given twice", text))
		}
		seen[ocijson.Key(p)] = true
		list = append(list, p)
	}
	return list, nil
}

// wanted says which of several images is meant.
func (r *registryFlags) wanted() (place.Wanted, error) {
	p, err := r.choice()
	return place.Wanted{Platform: p, Only: r.platform != ""}, err
}

// choice returns the platform that is chosen from several.
func (r *registryFlags) choice() (v1.Platform, error) {
	if r.platform == "" {
		return hostPlatform(), nil
	}
	p, err := ocijson.ParsePlatform(r.platform)
	return ocijson.Normal(p), cmdline.Usage(err)
}

// hostPlatform returns the platform of images if nothing else is said.
func hostPlatform() v1.Platform { return v1.Platform{OS: "linux", Architecture: hostArchitecture} }
