package rootfs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/varve-image/varve/internal/testtools"
)

// makeCertificate signs a certificate whose subject is the given DER.
func makeCertificate(t testing.TB, subject []byte) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), RawSubject: subject, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// named returns a certificate whose subject has a common name.
func named(t testing.TB, name string) []byte {
	t.Helper()
	subject, err := asn1.Marshal(pkix.Name{CommonName: name}.ToRDNSequence())
	if err != nil {
		t.Fatal(err)
	}
	return makeCertificate(t, subject)
}

// TestSubjectHash compares with openssl, for all kinds of strings, sets of several
// attributes, and spaces and letter case, which are ignored.
func TestSubjectHash(t *testing.T) {
	openssl := testtools.Need(t, "openssl")
	type part struct {
		id   string // DER of the object identifier
		tag  byte
		text string
	}
	cn, ou, country := "\x06\x03\x55\x04\x03", "\x06\x03\x55\x04\x0b", "\x06\x03\x55\x04\x06"
	tlv := func(tag byte, text string) string { return string([]byte{tag, byte(len(text))}) + text }
	for name, sets := range map[string][][]part{
		"empty":            {},
		"plain":            {{{country, 19, "DE"}}, {{ou, 12, "Unit"}}, {{cn, 12, "test"}}},
		"spaces and case":  {{{cn, 12, " \t Some  ROOT\n CA  "}}},
		"not ASCII":        {{{cn, 12, "Ä É  ß"}}},
		"Latin-1":          {{{cn, 20, "Caf\xe9  X"}}},
		"IA5":              {{{cn, 22, "A@B"}}},
		"BMP":              {{{cn, 30, "\x00A\x00 \x00 \x20\xac"}}},
		"universal":        {{{cn, 28, "\x00\x00\x00A\x00\x01\xf6\x00"}}},
		"two in one":       {{{ou, 12, "zz"}, {cn, 19, "B"}}},
		"two, other order": {{{cn, 12, "A long name"}, {ou, 12, "b"}}},
		"nothing but":      {{{cn, 12, "   "}}},
	} {
		t.Run(name, func(t *testing.T) {
			subject := ""
			for _, set := range sets {
				parts := ""
				for _, p := range set {
					parts += tlv(0x30, p.id+tlv(p.tag, p.text))
				}
				subject += tlv(0x31, parts)
			}
			der := makeCertificate(t, []byte(tlv(0x30, subject)))
			cmd := exec.Command(openssl, "x509", "-noout", "-hash")
			cmd.Stdin = strings.NewReader(pemText(der))
			want, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			got, err := subjectHash(der)
			if err != nil || got != strings.TrimSpace(string(want)) {
				t.Errorf("the hash is %q, %v; openssl's is %q", got, err, want)
			}
		})
	}
}

// FuzzSubjectHash: whatever a certificate contains, there is a hash or an error.
func FuzzSubjectHash(f *testing.F) {
	f.Add(named(f, "a"))
	f.Add([]byte("0\x00"))
	f.Fuzz(func(t *testing.T, der []byte) {
		hash, err := subjectHash(der)
		if err == nil && !hashName().MatchString(hash+".0") {
			t.Errorf("the hash is %q", hash)
		}
	})
}
