package rootfs

import (
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/varve-image/varve/internal/lack"
	"github.com/varve-image/varve/tree"
)

// maxBundle is the size in bytes of the largest bundle that is accepted. The one
// made from Mozilla's list has a quarter of a megabyte.
const maxBundle = 16 << 20

// bundlePaths are the places where OpenSSL, GnuTLS, Go, curl and Python look
// on one distribution or another.
var bundlePaths = [...]string{
	"etc/ssl/certs/ca-bundle.crt",
	"etc/ssl/certs/ca-certificates.crt",
	"etc/pki/tls/certs/ca-bundle.crt",
}

// hostPaths are the places of a distribution's bundle: Debian and Alpine,
// Fedora, openSUSE, Fedora's generated one, macOS and the BSDs.
var hostPaths = [...]string{
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"/etc/ssl/cert.pem",
}

// caCertificates returns a bundle of CA certificates in the three places where
// programs look, as regular files of mode 0644. The bundle is a regular file
// of the host, or a symlink to one, of at most 16 MiB, that holds at least one
// PEM certificate and no private key. It is read once here, to be checked, and
// again whenever an entry is opened; that fails if it has been changed
// meanwhile.
//
// If lower layers have certificates, those of the bundle are added to them, in
// every bundle and every directory of certificates by hash that distributions
// have; a certificate that is there already, by its DER, is not added again. The
// missing ones of the three places get all certificates together. A *LowerError
// says that a file of lower layers cannot be read.
func caCertificates(bundle string, lower Lower) ([]*tree.Entry, error) {
	content, certificates, err := readBundle(bundle)
	if err != nil {
		return nil, fmt.Errorf("preset caCertificates: %w", err)
	}
	a := &authorities{lower: lower, certificates: certificates}
	if err := a.add(content); err != nil {
		return nil, fmt.Errorf("preset caCertificates: %w", err)
	}
	return preset("preset caCertificates", a.entries...)
}

// hostBundle returns the path of the host's bundle of CA certificates: the first of
// the well-known places that has a file. Its certificates depend on the host, and
// so will an image that includes it.
func hostBundle() (string, error) {
	return firstBundle(hostPaths[:])
}

func firstBundle(paths []string) (string, error) {
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			return p, nil
		}
	}
	return "", &lack.Error{Err: fmt.Errorf("this machine has no bundle of CA certificates at %s: install its package ca-certificates or give a bundle's path",
		strings.Join(paths, ", "))}
}

// readBundle returns the bundle's entry after checking its content, and its
// certificates as DER.
func readBundle(bundle string) (*tree.Entry, [][]byte, error) {
	if bundle == "" {
		return nil, nil, errors.New("the bundle's path is empty")
	}
	name, err := tree.Resolve(bundle)
	if err != nil {
		return nil, nil, fmt.Errorf("find bundle: %w", err)
	}
	e, err := lookAt(name)
	if err != nil {
		return nil, nil, fmt.Errorf("look at bundle: %w", err)
	}
	switch {
	case e.Type != tree.Regular:
		return nil, nil, fmt.Errorf("bundle %q is not a regular file; give the one file that holds all certificates", bundle)
	case e.Size > maxBundle:
		return nil, nil, fmt.Errorf("bundle %q has %d bytes; at most %d are accepted", bundle, e.Size, maxBundle)
	}
	data, err := readAll(e)
	if err != nil {
		return nil, nil, fmt.Errorf("read bundle: %w", err)
	}
	certificates, err := parsePEM(data)
	if err != nil {
		return nil, nil, fmt.Errorf("bundle %q: %w", bundle, err)
	}
	return e, certificates, nil
}

// lookAt returns the first entry at name, whose Open notices every change.
func lookAt(name string) (*tree.Entry, error) {
	for e, err := range tree.FromDir(name, tree.DirOptions{}) {
		return e, err
	}
	return nil, fmt.Errorf("%q is not there", name)
}

// parsePEM returns the certificates of a bundle that may go into an image. Text
// between its blocks is a comment.
func parsePEM(data []byte) (certificates [][]byte, err error) {
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		if strings.Contains(block.Type, "PRIVATE KEY") {
			return nil, fmt.Errorf("holds a PEM block of type %q, which must not go into an image", block.Type)
		}
		if block.Type == certificateBlock && len(block.Bytes) > 0 {
			certificates = append(certificates, block.Bytes)
		}
		data = rest
	}
	if len(certificates) == 0 {
		return nil, errors.New("holds no PEM certificate")
	}
	return certificates, nil
}
