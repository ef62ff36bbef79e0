package registry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/varve-image/varve/internal/regfile"
)

const (
	// maxAuthFile limits a file of credentials and a helper's output, in bytes.
	maxAuthFile = 1 << 20
	// helperTimeout limits how long a credential helper may take.
	helperTimeout = time.Minute
	// hubKey is Docker Hub's name in Docker's config.json.
	hubKey = "https://index.docker.io/v1/"
	// tokenUser is the user name with which a helper returns an identity token.
	tokenUser = "<token>"
)

// credentials say who logs in; all fields are empty for nobody.
type credentials struct {
	username, password string
	// identityToken is exchanged for tokens; registryToken is such a token.
	identityToken, registryToken string
}

// authFile is the part of config.json and auth.json about credentials
// (containers-auth.json(5), docker's "config.json properties").
type authFile struct {
	Auths       map[string]authEntry `json:"auths"`
	CredHelpers map[string]string    `json:"credHelpers"`
	CredsStore  string               `json:"credsStore"`
}

type authEntry struct {
	Auth          string `json:"auth"`
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// found holds credentials and where they are from: Options, or a file. It is
// empty if there are none.
type found struct {
	credentials
	from string
}

func (f *found) String() string {
	if f.username == "" {
		return "the login from " + f.from
	}
	return fmt.Sprintf("the login of user %q from %s", f.username, f.from)
}

// findCredentials returns the credentials for a repository, if there are any.
func findCredentials(ctx context.Context, ref reference, opts Options) (*found, error) {
	if opts.Username != "" {
		return &found{credentials{username: opts.Username, password: opts.Password}, cmp.Or(opts.LoginFrom, "the options")}, nil
	}
	for _, path := range opts.AuthFiles {
		file, err := readAuthFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read credentials: %w", err)
		}
		cred, err := file.find(ctx, ref)
		if err != nil {
			return nil, fmt.Errorf("credentials for %s in %q: %w", ref.domain, path, err)
		}
		if cred != (credentials{}) {
			return &found{cred, fmt.Sprintf("%q", path)}, nil
		}
	}
	return &found{}, nil
}

func readAuthFile(path string) (*authFile, error) {
	data, err := readFile(path, maxAuthFile)
	if err != nil {
		return nil, err
	}
	file := &authFile{}
	if err := json.Unmarshal(data, file); err != nil {
		return nil, fmt.Errorf("%q is not a JSON file of credentials", path) // does not repeat any of it
	}
	return file, nil
}

// readFile reads a regular file of at most maxBytes.
func readFile(path string, maxBytes int64) ([]byte, error) {
	data, err := regfile.Read(path, maxBytes)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", path, regfile.Cause(err))
	}
	return data, nil
}

// find asks the file, and the helpers that it names, as Docker does: the
// registry's own helper, the helper for all, then what the file holds itself. A
// namespace of the registry takes precedence over the whole registry.
func (f *authFile) find(ctx context.Context, ref reference) (credentials, error) {
	names := keys(ref)
	for _, name := range names {
		if helper := f.CredHelpers[name]; helper != "" {
			return runHelper(ctx, helper, name)
		}
	}
	if f.CredsStore != "" {
		server := ref.domain
		if ref.domain == hubDomain {
			server = hubKey
		}
		cred, err := runHelper(ctx, f.CredsStore, server)
		if err != nil || cred != (credentials{}) {
			return cred, err
		}
	}
	byName := map[string]authEntry{}
	for key, entry := range f.Auths {
		if name := normalKey(key); name == key || byName[name] == (authEntry{}) {
			byName[name] = entry
		}
	}
	for _, name := range names {
		if entry, ok := byName[normalKey(name)]; ok {
			return entry.credentials()
		}
	}
	return credentials{}, nil
}

// keys returns the names by which a file may know a repository, the closest
// first.
func keys(ref reference) []string {
	var all []string
	for path := ref.name(); path != ref.domain; {
		all = append(all, path)
		path = path[:strings.LastIndexByte(path, '/')]
	}
	all = append(all, ref.domain)
	if ref.domain == hubDomain {
		all = append(all, hubKey, "index.docker.io", hubHost)
	}
	return all
}

// normalKey returns a key without the scheme and the path that old files have.
func normalKey(key string) string {
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	for _, suffix := range []string{"/", "/v1", "/v2"} {
		key = strings.TrimSuffix(key, suffix)
	}
	return key
}

func (e authEntry) credentials() (credentials, error) {
	c := credentials{e.Username, e.Password, e.IdentityToken, e.RegistryToken}
	if e.Auth != "" {
		data, err := base64.StdEncoding.DecodeString(e.Auth)
		user, password, ok := strings.Cut(strings.TrimRight(string(data), "\x00"), ":")
		if err != nil || !ok {
			return credentials{}, errors.New("its auth is not USER:PASSWORD in base64")
		}
		c.username, c.password = user, password
	}
	return c, nil
}

// helperNames matches a helper's name, which becomes a program's.
var helperNames = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// runHelper asks a credential helper (docker-credential-helpers, "Development").
// Its output is never repeated: it contains secrets.
func runHelper(ctx context.Context, name, server string) (credentials, error) {
	if !helperNames.MatchString(name) {
		return credentials{}, fmt.Errorf("%q is not the name of a credential helper", name)
	}
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	program := "docker-credential-" + name
	var out limited
	cmd := exec.CommandContext(ctx, program, "get")
	cmd.Stdin, cmd.Stdout, cmd.WaitDelay = strings.NewReader(server), &out, time.Second/2
	err := cmd.Run()
	if ctx.Err() != nil {
		return credentials{}, fmt.Errorf("run %s: %w", program, context.Cause(ctx))
	}
	if err != nil {
		if strings.Contains(out.kept.String(), "credentials not found") {
			return credentials{}, nil
		}
		return credentials{}, fmt.Errorf("run %s: %w: try \"echo %s | %s get\"", program, err, server, program)
	}
	var doc struct{ Username, Secret string }
	if json.Unmarshal(out.kept.Bytes(), &doc) != nil {
		return credentials{}, fmt.Errorf("run %s: its answer is not JSON", program)
	}
	if doc.Username == tokenUser {
		return credentials{identityToken: doc.Secret}, nil
	}
	return credentials{username: doc.Username, password: doc.Secret}, nil
}

// limited keeps what is written to it, up to a limit. It has no ReadFrom, which
// would exceed that.
type limited struct{ kept bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.kept.Len()+len(p) > maxAuthFile {
		return 0, io.ErrShortBuffer
	}
	return l.kept.Write(p)
}
