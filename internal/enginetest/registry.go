package enginetest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/varve-image/varve/internal/testtools"
)

// Registry starts Docker's registry, without TLS and login, on a port of the
// loopback device, and returns its host. It is stopped, and what it stored
// removed, when the test ends. It needs no root.
func Registry(t testing.TB) string {
	t.Helper()
	return runRegistry(t, t.TempDir(), "", &http.Transport{DisableKeepAlives: true})
}

// A GuardedRegistry is Docker's registry with TLS and a login.
type GuardedRegistry struct {
	// Host is where it listens, on the loopback device. Its certificate is for
	// that address and for the host registry.example.
	Host string
	// CAFile is the certificate, Data the directory with everything that it stores.
	CAFile, Data string
	// Username and Password log in.
	Username, Password string
}

// RegistryWithLogin starts Docker's registry as Registry does, with TLS and a
// login.
func RegistryWithLogin(t testing.TB) GuardedRegistry {
	t.Helper()
	dir := t.TempDir()
	g := GuardedRegistry{CAFile: filepath.Join(dir, "cert.pem"), Data: filepath.Join(dir, "data"), Username: "user", Password: "s3cr3t-pass"}
	key := filepath.Join(dir, "key.pem")
	transport, err := selfSigned(g.CAFile, key)
	if err != nil {
		t.Fatal(err)
	}
	// bcrypt, the one kind that the registry reads.
	const login = "user:$2b$05$abcdefghijklmnopqrstuul9Lwd4lwSN2dSsfW0Na38Zav2NkC3wS\n"
	logins := filepath.Join(dir, "htpasswd")
	if err := os.WriteFile(logins, []byte(login), 0o600); err != nil {
		t.Fatal(err)
	}
	g.Host = runRegistry(t, dir, fmt.Sprintf("  tls: {certificate: %q, key: %q}\nauth: {htpasswd: {realm: test, path: %q}}\n", g.CAFile, key, logins), transport)
	return g
}

// selfSigned writes a certificate for the loopback address and for
// registry.example, and its key. It returns a transport that trusts it.
func selfSigned(certificate, key string) (http.RoundTripper, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		DNSNames: []string{"registry.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool}}, nil
}

// runRegistry starts the registry with its files in a directory; more is the
// configuration after the address. transport reaches it.
func runRegistry(t testing.TB, dir, more string, transport http.RoundTripper) string {
	t.Helper()
	program := testtools.Need(t, "docker-registry")
	var host string
	var err error
	for range 5 { // another process may take the port
		if host, err = startRegistry(t, program, dir, more, transport); err == nil {
			return host
		}
	}
	t.Fatalf("start docker-registry: %v", err)
	return ""
}

func startRegistry(t testing.TB, program, dir, more string, transport http.RoundTripper) (string, error) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	host := free.Addr().String()
	if err := free.Close(); err != nil {
		return "", err
	}
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: warn}\nstorage:\n  filesystem: {rootdirectory: %q}\n  delete: {enabled: true}\nhttp:\n  addr: %q\n%s",
		filepath.Join(dir, "data"), host, more)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return "", err
	}
	cmd := exec.Command(program, "serve", config)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "OTEL_TRACES_EXPORTER=none"}
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		return "", err
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	stop := func() { _ = cmd.Process.Kill(); <-exited }
	scheme, want := "http", http.StatusOK
	if more != "" {
		scheme, want = "https", http.StatusUnauthorized
	}
	if err := answers(scheme+"://"+host+"/v2/", want, transport, exited); err != nil {
		stop()
		return "", fmt.Errorf("%w; it wrote:\n%s", err, log.String())
	}
	t.Cleanup(stop)
	return host, nil
}

// answers waits until a server answers with the status want, or has exited.
func answers(url string, want int, transport http.RoundTripper, exited <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	client := &http.Client{Transport: transport}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == want {
				return nil
			}
			err = fmt.Errorf("status %d", resp.StatusCode)
		}
		select {
		case <-exited:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return fmt.Errorf("no answer in %v: %w", startTimeout, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Tunnel makes a proxy in a test answer CONNECT with a connection to host. It
// returns when that ends.
func Tunnel(t testing.TB, w http.ResponseWriter, host string) {
	there, err := net.Dial("tcp", host)
	if err != nil {
		t.Error(err)
		return
	}
	here, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	if _, err := io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		t.Error(err)
	}
	done := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // ends with either connection
		to.Close()
		from.Close()
	}
	go done(there, here)
	done(here, there)
}
