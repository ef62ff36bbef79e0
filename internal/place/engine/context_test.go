package engine

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/lack"
)

// writeFile writes a file and the directories that it is in.
func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// contextID returns the name of a context's directories.
func contextID(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// addContext writes a context as docker does.
func addContext(t *testing.T, dir, name, text string) {
	t.Helper()
	writeFile(t, filepath.Join(dir, "contexts", "meta", contextID(name), "meta.json"), text)
}

// TestDockerContexts: the engine is the one that docker reaches.
func TestDockerContexts(t *testing.T) {
	dir, chosen, broken := t.TempDir(), t.TempDir(), t.TempDir()
	for _, d := range []string{dir, chosen} {
		addContext(t, d, "there", `{"Name":"there","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///there.sock","SkipTLSVerify":false}}}`)
		addContext(t, d, "far", `{"Name":"far","Endpoints":{"docker":{"Host":"ssh://me@far.example"}}}`)
	}
	writeFile(t, filepath.Join(dir, "config.json"), `{"auths":{}}`)
	writeFile(t, filepath.Join(chosen, "config.json"), `{"currentContext":"there"}`)
	writeFile(t, filepath.Join(broken, "config.json"), `{"currentContext":`)
	addContext(t, broken, "empty", `{"Name":"empty","Endpoints":{}}`)
	addContext(t, broken, "none", `nothing`)
	addContext(t, broken, "odd", `{"Endpoints":{"docker":{"Host":"npipe:////./pipe/x"}}}`)
	addContext(t, broken, "hostile", `{"Endpoints":{"docker":{"Host":"ssh://-oProxyCommand=x"}}}`)
	addContext(t, broken, "fifo", "")
	fifo := filepath.Join(broken, "contexts", "meta", contextID("fifo"), "meta.json")
	if err := errors.Join(os.Remove(fifo), unix.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		opts DockerOptions
		want string // of the engine or the error
	}{
		{"nothing said", DockerOptions{}, `Docker at "unix:///var/run/docker.sock"`},
		{"no context is chosen", DockerOptions{ConfigDir: dir}, `Docker at "unix:///var/run/docker.sock"`},
		{"no configuration", DockerOptions{ConfigDir: filepath.Join(dir, "none")}, `Docker at "unix:///var/run/docker.sock"`},
		{"chosen", DockerOptions{ConfigDir: chosen}, `Docker at "unix:///there.sock", of context "there"`},
		{"named", DockerOptions{Context: "there", ConfigDir: dir}, `Docker at "unix:///there.sock", of context "there"`},
		{"ssh", DockerOptions{Context: "far", ConfigDir: dir}, `Docker at "ssh://me@far.example", of context "far"`},
		{"named before the chosen", DockerOptions{Context: "far", ConfigDir: chosen}, `of context "far"`},
		{"default before the chosen", DockerOptions{Context: "default", ConfigDir: chosen}, `Docker at "unix:///var/run/docker.sock"`},
		{"host before all", DockerOptions{Host: "unix:///x", Context: "far", ConfigDir: chosen}, `Docker at "unix:///x"`},
		{"unknown", DockerOptions{Context: "nowhere", ConfigDir: dir}, `no context "nowhere": see "docker context ls", DOCKER_CONTEXT and DOCKER_HOST`},
		{"a path", DockerOptions{Context: "../../x", ConfigDir: dir}, `no context "../../x"`},
		{"nobody knows", DockerOptions{Context: "there"}, "set DOCKER_CONFIG or HOME"},
		{"broken configuration", DockerOptions{ConfigDir: broken}, "find Docker's current context"},
		{"broken configuration does not count", DockerOptions{Host: "unix:///x", ConfigDir: broken}, `Docker at "unix:///x"`},
		{"no endpoint", DockerOptions{Context: "empty", ConfigDir: broken}, "does not say where an engine is"},
		{"no JSON", DockerOptions{Context: "none", ConfigDir: broken}, `read Docker's context "none"`},
		{"another kind", DockerOptions{Context: "odd", ConfigDir: broken}, "expected unix:///PATH"},
		{"an option", DockerOptions{Context: "hostile", ConfigDir: broken}, "expected ssh://"},
		{"FIFO", DockerOptions{Context: "fifo", ConfigDir: broken}, "it is a FIFO"},
	} {
		e, err := Docker(tt.opts)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = e.String()
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// authority signs certificates, and writes them as Docker's clients expect them.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	pair := a.sign(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.cert, a.key = pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) sign(t *testing.T, c *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.NotAfter = big.NewInt(1), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// server returns a certificate for the loopback address, with what it asks of clients.
func (a *authority) server(t *testing.T) *tls.Config {
	t.Helper()
	pair := a.sign(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: a.pool, ClientAuth: tls.RequireAndVerifyClientCert}
}

// write writes ca.pem, and a client's cert.pem and key.pem, into a new directory.
func (a *authority) write(t *testing.T, files ...string) string {
	t.Helper()
	pair := a.sign(t, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	blocks := map[string]*pem.Block{
		caFile: {Type: "CERTIFICATE", Bytes: a.cert.Raw}, certFile: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: key},
	}
	for _, f := range files {
		writeFile(t, filepath.Join(dir, f), string(pem.EncodeToMemory(blocks[f])))
	}
	return dir
}

// TestTLS: an engine that wants certificates is reached with them, wherever they are stored, and
// an engine without a valid one is not.
func TestTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"Id":"sha256:`+strings.Repeat("0", 64)+`"}`)
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	server.TLS = ours.server(t)
	server.StartTLS()
	defer server.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	host := "tcp://" + server.Listener.Addr().String()
	all := []string{caFile, certFile, keyFile}
	certs := ours.write(t, all...)
	contexts := t.TempDir()
	addContext(t, contexts, "there", `{"Endpoints":{"docker":{"Host":"`+host+`"}}}`)
	for _, f := range all {
		data, err := os.ReadFile(filepath.Join(certs, f))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(contexts, "contexts", "tls", contextID("there"), "docker", f), string(data))
	}
	bad := ours.write(t, all...)
	writeFile(t, filepath.Join(bad, caFile), "nothing")
	for _, tt := range []struct {
		name string
		opts DockerOptions
		want string // of the error; empty for none
	}{
		{"certificates", DockerOptions{Host: host, TLSVerify: true, CertDir: certs}, ""},
		{"beside the configuration", DockerOptions{Host: host, TLSVerify: true, ConfigDir: certs}, ""},
		{"https", DockerOptions{Host: "https" + strings.TrimPrefix(host, "tcp"), TLSVerify: true, CertDir: certs}, ""},
		{"context", DockerOptions{Context: "there", ConfigDir: contexts}, ""},
		{"unverified", DockerOptions{Host: host, TLS: true, CertDir: ours.write(t, certFile, keyFile)}, ""},
		{"another authority", DockerOptions{Host: host, TLSVerify: true, CertDir: theirs.write(t, all...)}, "in TLS: tls: failed to verify certificate"},
		{"the machine's authorities", DockerOptions{Host: host, TLSVerify: true, CertDir: ours.write(t, certFile, keyFile)}, "failed to verify certificate"},
		{"https alone is verified", DockerOptions{Host: "https" + strings.TrimPrefix(host, "tcp")}, "failed to verify certificate"},
		{"nobody's client", DockerOptions{Host: host, TLSVerify: true, CertDir: ours.write(t, caFile)}, "certificate required"},
		{"another's client", DockerOptions{Host: host, TLS: true, CertDir: theirs.write(t, certFile, keyFile)}, "certificate"},
		{"half a pair", DockerOptions{Host: host, TLSVerify: true, CertDir: ours.write(t, caFile, certFile)}, "key.pem"},
		{"no PEM", DockerOptions{Host: host, TLSVerify: true, CertDir: bad}, "has none in PEM's form"},
		{"no TLS there", DockerOptions{Host: "tcp://" + plain.Listener.Addr().String(), TLSVerify: true, CertDir: certs}, "in TLS"},
		{"no TLS here", DockerOptions{Host: host}, "HTTPS server"},
	} {
		e, err := Docker(tt.opts)
		if err == nil {
			_, err = e.Identify(t.Context(), "a:b")
		}
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		var missing *lack.Error
		if strings.Contains(tt.want, "in TLS") && (!errors.As(err, &missing) || !strings.Contains(strings.Join(missing.Hints, " "), "ca.pem")) {
			t.Errorf("%s: no hint: %v", tt.name, err)
		}
	}
}
