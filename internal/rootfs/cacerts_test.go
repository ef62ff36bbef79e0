package rootfs

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	certificate = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"
	privateKey  = "-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCACertificates(t *testing.T) {
	bundle := write(t, "bundle.pem", "# a comment\n"+certificate+"another\n"+certificate)
	link := filepath.Join(t.TempDir(), "link.crt")
	if err := os.Symlink(bundle, link); err != nil {
		t.Fatal(err)
	}
	const text = `"# a comment\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n` +
		`another\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"`
	for _, path := range []string{bundle, link} {
		got, err := caCertificates(path, Lower{})
		if err != nil {
			t.Fatal(err)
		}
		checkTree(t, got, "preset caCertificates",
			"0755 ./?", "0755 etc/?",
			"0755 etc/pki/?", "0755 etc/pki/tls/?", "0755 etc/pki/tls/certs/?",
			"0644 etc/pki/tls/certs/ca-bundle.crt "+text,
			"0755 etc/ssl/?", "0755 etc/ssl/certs/?",
			"0644 etc/ssl/certs/ca-bundle.crt "+text,
			"0644 etc/ssl/certs/ca-certificates.crt "+text,
		)
	}
}

func TestCACertificatesRefuses(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	large := write(t, "large", certificate)
	if err := os.Truncate(large, maxBundle+1); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "no\x1bsuch")
	tests := []struct{ name, path, want string }{
		{"empty path", "", "path is empty"},
		{"missing", missing, `no\x1bsuch": no such file`},
		{"directory", t.TempDir(), "not a regular file"},
		{"fifo", fifo, "FIFO"},
		{"empty file", write(t, "empty", ""), "no PEM certificate"},
		{"not PEM", write(t, "text", "-----BEGIN CERTIFICATE-----\n"), "no PEM certificate"},
		{"other PEM", write(t, "crl", strings.ReplaceAll(certificate, "CERTIFICATE", "X509 CRL")), "no PEM certificate"},
		{"private key", write(t, "key", certificate+privateKey), `"EC PRIVATE KEY"`},
		{"large", large, "at most 16777216"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := caCertificates(tt.path, Lower{})
			checkError(t, err, "preset caCertificates: ", tt.want)
		})
	}
}

func TestCACertificatesSeesChange(t *testing.T) {
	changes := map[string]func(path string) error{
		"longer":    func(path string) error { return os.WriteFile(path, []byte(certificate+"more"), 0o600) },
		"shorter":   func(path string) error { return os.Truncate(path, 10) },
		"same size": func(path string) error { return os.Chtimes(path, time.Time{}, time.Unix(1, 0)) },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			bundle := write(t, "bundle", certificate)
			got, err := caCertificates(bundle, Lower{})
			if err != nil {
				t.Fatal(err)
			}
			if err := change(bundle); err != nil {
				t.Fatal(err)
			}
			r, err := got[len(got)-1].Open()
			if err == nil {
				_, err = io.Copy(io.Discard, r)
				r.Close()
			}
			checkError(t, err, bundle)
		})
	}
}

func TestFirstBundle(t *testing.T) {
	empty, good := write(t, "empty", ""), write(t, "good", certificate)
	got, err := firstBundle([]string{"/nonexistent/a", t.TempDir(), empty, good, "/nonexistent/b"})
	if err != nil || got != good {
		t.Errorf("got %q, %v; want %q", got, err, good)
	}
	_, err = firstBundle([]string{"/nonexistent/a", empty})
	checkError(t, err, "/nonexistent/a, "+empty, "give a bundle's path")
}

func TestHostBundle(t *testing.T) {
	path, err := hostBundle()
	if err != nil {
		t.Skip(err)
	}
	if _, err := caCertificates(path, Lower{}); err != nil {
		t.Errorf("the host's bundle: %v", err)
	}
}

func FuzzParsePEM(f *testing.F) {
	f.Add([]byte(certificate))
	f.Add([]byte(privateKey))
	f.Add([]byte(certificate + privateKey))
	f.Add([]byte("-----BEGIN \x00-----\n\n-----END \x00-----"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := parsePEM(data); err == nil && !bytes.Contains(data, []byte("CERTIFICATE")) {
			t.Errorf("accepted %q", data)
		}
	})
}

func FuzzNSS(f *testing.F) {
	f.Add("a:x:1:1:::", "a:x:1:")
	f.Add("a:x:1:1:::\nroot:x:0:0:::", "root:x:0:")
	f.Fuzz(func(t *testing.T, passwd, group string) {
		got, err := nss([]string{passwd}, []string{group}, Lower{})
		if err != nil {
			return
		}
		for _, e := range got {
			if e.Path == "etc/passwd" || e.Path == "etc/group" {
				if n := strings.Count(content(t, e), "\n"); n != 3 {
					t.Errorf("%s: %d lines: %q", e.Path, n, content(t, e))
				}
			}
		}
	})
}
