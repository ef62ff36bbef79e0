// Command vendorhash computes the vendorHash for nixpkgs' buildGoModule: Nix's hash
// of what `go mod vendor` writes for this module.
//
//	go run ./hack/vendorhash        print it
//	go run ./hack/vendorhash -w     write it into nix/package.nix
package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"github.com/varve-image/varve/internal/nixstore/nar"
)

func main() {
	write := flag.Bool("w", false, "write the hash into nix/package.nix")
	flag.Parse()
	hash, err := vendorHash(context.Background(), ".")
	if err == nil && *write {
		err = update(filepath.Join("nix", "package.nix"), hash)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "vendorhash: %v\n", err)
		os.Exit(1)
	}
	fmt.Println(hash)
}

// vendorHash returns the hash for the module in root.
func vendorHash(ctx context.Context, root string) (_ string, err error) {
	temp, err := os.MkdirTemp("", "vendorhash-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	dir := filepath.Join(temp, "vendor")
	cmd := exec.CommandContext(ctx, "go", "mod", "vendor", "-o", dir)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go mod vendor: %w\n%s", err, out)
	}
	sum := sha256.New()
	w := nar.NewWriter(sum)
	w.Begin()
	if err := dump(w, dir); err != nil {
		return "", err
	}
	return "sha256-" + base64.StdEncoding.EncodeToString(sum.Sum(nil)), w.Err()
}

// dump writes a directory of directories and regular files.
func dump(w *nar.Writer, dir string) error {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return err
	}
	w.Directory()
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		w.Entry(e.Name())
		if e.IsDir() {
			err = dump(w, name)
		} else {
			err = dumpFile(w, name)
		}
		if err != nil {
			return err
		}
		w.EndEntry()
	}
	w.EndDirectory()
	return nil
}

func dumpFile(w *nar.Writer, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%q is not a regular file", name)
	}
	size := uint64(st.Size())
	w.Regular(size, st.Mode()&0o100 != 0)
	if _, err := io.Copy(w, f); err != nil {
		return err
	}
	w.EndRegular(size)
	return nil
}

// line matches the hash in nix/package.nix.
var line = regexp.MustCompile(`vendorHash = "([^"]*)";`)

// update puts a hash into an expression.
func update(file, hash string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if len(line.FindAllIndex(data, -1)) != 1 {
		return fmt.Errorf("%q has no line vendorHash, or several", file)
	}
	return os.WriteFile(file, line.ReplaceAll(data, []byte(`vendorHash = "`+hash+`";`)), 0o644)
}
