package rootfs

import (
	"strings"
	"testing"
)

// TestCACertificatesAddToLower: every bundle and directory of hashes that a
// distribution has gets the certificates that it lacks.
func TestCACertificatesAddToLower(t *testing.T) {
	old, added := named(t, "Old"), named(t, "New")
	hash, err := subjectHash(added)
	if err != nil {
		t.Fatal(err)
	}
	oldHash, err := subjectHash(old)
	if err != nil {
		t.Fatal(err)
	}
	o, n := pemText(old), pemText(added)
	trusted := strings.ReplaceAll(o, "CERTIFICATE", "TRUSTED CERTIFICATE")
	bundle := write(t, "bundle.pem", "# mine\n"+n+o)
	const own, below = "0644 0:0 ", "0640 7:8 "
	const deb, ca, pki = "etc/ssl/certs/ca-certificates.crt", "etc/ssl/certs/ca-bundle.crt", "etc/pki/tls/certs/ca-bundle.crt"
	const fedora, trust = "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "etc/pki/ca-trust/extracted/openssl/ca-bundle.trust.crt"
	for name, c := range map[string]struct{ files, want map[string]string }{
		"nothing":         {nil, map[string]string{deb: own + "# mine\n" + n + o, ca: own + "# mine\n" + n + o, pki: own + "# mine\n" + n + o}},
		"an empty bundle": {map[string]string{deb: ""}, map[string]string{deb: below + n + o, ca: own + "# mine\n" + n + o, pki: own + "# mine\n" + n + o}},
		"Debian": {
			map[string]string{deb: o, "etc/ssl/certs/" + oldHash + ".0": "-> old.pem", "etc/ssl/certs/old.pem": o},
			map[string]string{deb: below + o + n, ca: own + o + n, pki: own + o + n, "etc/ssl/certs/" + hash + ".0": own + n}},
		"Debian, another certificate of that name": {
			map[string]string{deb: o + n, "etc/ssl/certs/" + oldHash + ".0": o, "etc/ssl/certs/" + hash + ".0": pemText(named(t, "New")), "etc/ssl/certs/" + hash + ".1": "-> gone"},
			map[string]string{ca: own + o + n, pki: own + o + n, "etc/ssl/certs/" + hash + ".2": own + n}},
		"Debian, all there": {
			map[string]string{deb: o + n, ca: n + o, pki: o + n, "etc/ssl/certs/" + oldHash + ".0": o, "etc/ssl/certs/" + hash + ".0": n}, map[string]string{}},
		"Fedora": {
			map[string]string{fedora: "# label\n" + strings.TrimSuffix(o, "\n"), trust: trusted, pki: "-> /" + fedora, "etc/pki/tls/cert.pem": "-> certs/ca-bundle.crt", "etc/ssl/certs": "-> ../pki/tls/certs",
				"etc/pki/ca-trust/extracted/pem/directory-hash/" + oldHash + ".0": o},
			map[string]string{fedora: below + "# label\n" + o + n, trust: below + trusted + n, deb: own + "# label\n" + o + n,
				"etc/pki/ca-trust/extracted/pem/directory-hash/" + hash + ".0": own + n}},
		"openSUSE": {
			map[string]string{"var/lib/ca-certificates/ca-bundle.pem": o, "etc/ssl/ca-bundle.pem": "-> /var/lib/ca-certificates/ca-bundle.pem", "etc/ssl/certs": "-> /var/lib/ca-certificates/pem",
				"var/lib/ca-certificates/pem/" + oldHash + ".0": o, "var/lib/ca-certificates/openssl/" + oldHash + ".0": trusted},
			map[string]string{"var/lib/ca-certificates/ca-bundle.pem": below + o + n, deb: own + o + n, ca: own + o + n, pki: own + o + n,
				"var/lib/ca-certificates/pem/" + hash + ".0": own + n, "var/lib/ca-certificates/openssl/" + hash + ".0": own + n}},
		"Alpine": {
			map[string]string{deb: o, "etc/ssl/cert.pem": "-> certs/ca-certificates.crt"},
			map[string]string{deb: below + o + n, ca: own + o + n, pki: own + o + n}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := caCertificates(bundle, lowerOf(c.files))
			if err != nil {
				t.Fatal(err)
			}
			checkTexts(t, got, c.want)
		})
	}
}

// TestCACertificatesCovered: if the image's own files cover a bundle below, the
// preset is the same as without that bundle.
func TestCACertificatesCovered(t *testing.T) {
	lower := lowerOf(map[string]string{bundlePaths[0]: pemText(named(t, "Old"))})
	lower.Covered = func(path string) bool { return path == bundlePaths[0] }
	got, err := caCertificates(write(t, "bundle.pem", certificate), lower)
	if err != nil {
		t.Fatal(err)
	}
	if text := texts(t, got)[bundlePaths[0]]; text != "0644 0:0 "+certificate {
		t.Errorf("it is %q", text)
	}
}

// TestCACertificatesNeedX509: what is not a certificate has no hash.
func TestCACertificatesNeedX509(t *testing.T) {
	_, err := caCertificates(write(t, "bundle.pem", certificate), lowerOf(map[string]string{"etc/ssl/certs/00000000.0": ""}))
	checkError(t, err, "preset caCertificates: certificate 1 of the bundle: it is not an X.509 certificate")
}

// FuzzAuthorities: whatever a bundle of a lower layer contains, its text stays at
// the beginning, and a certificate is added once.
func FuzzAuthorities(f *testing.F) {
	f.Add("", []byte("0\x00"))
	f.Add(certificate, []byte("0\x00"))
	f.Add("-----BEGIN CERTIFICATE-----\n", []byte{1})
	f.Fuzz(func(t *testing.T, below string, der []byte) {
		a := &authorities{certificates: [][]byte{der, der}}
		sum := a.extended(below)
		if !strings.HasPrefix(sum, below) || len(sum) > len(below)+1+len(pemText(der)) {
			t.Errorf("%q became %q", below, sum)
		}
	})
}
