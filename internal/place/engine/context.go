package engine

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/varve-image/varve/internal/regfile"
)

// maxConfig limits a file of Docker's configuration, in bytes.
const maxConfig = 1 << 20

// endpoint says where an engine is and how to talk to it.
type endpoint struct {
	host string
	// tls says whether to use TLS for a tcp:// host, and verify whether the machine's
	// authorities, or ca.pem, have to vouch for its certificate.
	tls, verify bool
	// certs is the directory of ca.pem, cert.pem and key.pem; empty means none.
	certs string
	// context is the name of the context that this comes from.
	context string
}

// endpoint finds the engine as docker does: by Host, then the context, then at the usual place.
func (o DockerOptions) endpoint() (endpoint, error) {
	name := o.Context
	if o.Host == "" && name == "" && o.ConfigDir != "" {
		var err error
		if name, err = currentContext(o.ConfigDir); err != nil {
			return endpoint{}, err
		}
	}
	if o.Host == "" && name != "" && name != "default" {
		return o.fromContext(name)
	}
	e := endpoint{host: o.Host, tls: o.TLS || o.TLSVerify, verify: o.TLSVerify, certs: o.CertDir}
	if e.host == "" {
		e.host = DefaultDockerHost
	}
	if e.certs == "" {
		e.certs = o.ConfigDir
	}
	return e, nil
}

// currentContext returns the context that "docker context use" chose, if there is one.
func currentContext(dir string) (string, error) {
	name := filepath.Join(dir, "config.json")
	data, err := regfile.Read(name, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	var config struct{ CurrentContext string }
	if err == nil {
		err = json.Unmarshal(data, &config)
	}
	if err != nil {
		return "", fmt.Errorf("find Docker's current context: %w", fileError(name, err))
	}
	return config.CurrentContext, nil
}

// fileError names the file once, quoted.
func fileError(name string, err error) error {
	return fmt.Errorf("%q: %w", name, regfile.Cause(err))
}

// fromContext reads a Docker context, which "docker context create" writes (docker/cli,
// context/store).
func (o DockerOptions) fromContext(name string) (endpoint, error) {
	if o.ConfigDir == "" {
		return endpoint{}, fmt.Errorf("Docker's context %q: nobody knows where contexts are: set DOCKER_CONFIG or HOME", name)
	}
	sum := sha256.Sum256([]byte(name))
	id := hex.EncodeToString(sum[:])
	file := filepath.Join(o.ConfigDir, "contexts", "meta", id, "meta.json")
	data, err := regfile.Read(file, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return endpoint{}, fmt.Errorf("Docker has no context %q: see \"docker context ls\", DOCKER_CONTEXT and DOCKER_HOST", name)
	}
	var meta struct {
		Endpoints map[string]struct {
			Host          string
			SkipTLSVerify bool
		}
	}
	if err == nil {
		err = json.Unmarshal(data, &meta)
	}
	if err != nil {
		return endpoint{}, fmt.Errorf("read Docker's context %q: %w", name, fileError(file, err))
	}
	docker := meta.Endpoints["docker"]
	if docker.Host == "" {
		return endpoint{}, fmt.Errorf("Docker's context %q in %q does not say where an engine is", name, file)
	}
	e := endpoint{host: docker.Host, tls: docker.SkipTLSVerify, verify: !docker.SkipTLSVerify, context: name}
	dir := filepath.Join(o.ConfigDir, "contexts", "tls", id, "docker")
	for _, pem := range []string{caFile, certFile, keyFile} {
		if _, err := readPEM(dir, pem); err == nil {
			e.tls, e.certs = true, dir
		} else if !errors.Is(err, fs.ErrNotExist) {
			return endpoint{}, err
		}
	}
	return e, nil
}

// The files of a directory of certificates, by Docker's names.
const caFile, certFile, keyFile = "ca.pem", "cert.pem", "key.pem"

// tlsConfig reads the certificates for a host.
func (e endpoint) tlsConfig(serverName string) (*tls.Config, error) {
	//nolint:gosec // what the user has chosen by DOCKER_TLS or in a context
	config := &tls.Config{ServerName: serverName, MinVersion: tls.VersionTLS12, InsecureSkipVerify: !e.verify}
	if e.certs == "" {
		return config, nil
	}
	ca, err := readPEM(e.certs, caFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil { // otherwise the machine's authorities count
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(ca) {
			return nil, fmt.Errorf("certificates for the engine at %q: %q has none in PEM's form", e.host, filepath.Join(e.certs, caFile))
		}
	}
	cert, certErr := readPEM(e.certs, certFile)
	key, keyErr := readPEM(e.certs, keyFile)
	if errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist) {
		return config, nil
	}
	if err := errors.Join(certErr, keyErr); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("certificates for the engine at %q: %q and %q: %w", e.host, filepath.Join(e.certs, certFile), keyFile, err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// readPEM reads a file of certificates or a key.
func readPEM(dir, name string) ([]byte, error) {
	data, err := regfile.Read(filepath.Join(dir, name), maxConfig)
	if err != nil {
		return nil, fmt.Errorf("certificates for the engine: %w", fileError(filepath.Join(dir, name), err))
	}
	return data, nil
}
