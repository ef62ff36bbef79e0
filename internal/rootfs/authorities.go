package rootfs

import (
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/varve-image/varve/tree"
)

// The PEM blocks that hold certificates. In a trusted one, the DER is followed by
// what OpenSSL trusts it for.
const (
	certificateBlock = "CERTIFICATE"
	trustedBlock     = "TRUSTED CERTIFICATE"
)

// otherBundles are bundles that distributions have in addition to bundlePaths:
// Alpine, Fedora and its relatives, Arch, openSUSE, FreeBSD's ports.
var otherBundles = [...]string{
	"etc/ssl/cert.pem",
	"etc/pki/tls/cert.pem",
	"etc/pki/tls/cacert.pem",
	"etc/pki/tls/certs/ca-bundle.trust.crt",
	"etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"etc/pki/ca-trust/extracted/openssl/ca-bundle.trust.crt",
	"etc/ca-certificates/extracted/tls-ca-bundle.pem",
	"etc/ca-certificates/extracted/ca-bundle.trust.crt",
	"etc/ssl/ca-bundle.pem",
	"var/lib/ca-certificates/ca-bundle.pem",
	"usr/local/share/certs/ca-root-nss.crt",
}

// hashDirectories are where OpenSSL looks up certificates by the hash of their subject.
var hashDirectories = [...]string{
	"etc/ssl/certs",
	"usr/lib/ssl/certs",
	"etc/pki/tls/certs",
	"etc/pki/ca-trust/extracted/pem/directory-hash",
	"etc/ca-certificates/extracted/cadir",
	"var/lib/ca-certificates/openssl",
	"var/lib/ca-certificates/pem",
}

// authorities adds certificates to those of lower layers.
type authorities struct {
	lower        Lower
	certificates [][]byte
	entries      []*tree.Entry
}

// add makes the entries: content is the bundle itself.
func (a *authorities) add(content *tree.Entry) error {
	below, err := a.addToBundles()
	if err != nil {
		return err
	}
	for _, p := range bundlePaths {
		switch {
		case a.lower.visible(p) != nil: // it was added to
		case below == "" || a.lower.Covered != nil && a.lower.Covered(p):
			a.put(&tree.Entry{Path: p, Type: tree.Regular, Mode: 0o644, Size: content.Size, Content: content.Content, Stamp: content.Stamp})
		default:
			a.put(tree.NewFile(p, 0o644, a.extended(below)))
		}
	}
	return a.addToDirectories()
}

// put adds an entry, unless there is one with its path already, as when two places
// lead to the same file.
func (a *authorities) put(e *tree.Entry) {
	if !slices.ContainsFunc(a.entries, func(o *tree.Entry) bool { return o.Path == e.Path }) {
		a.entries = append(a.entries, e)
	}
}

// addToBundles adds to the bundles of lower layers, and returns the text of the
// first one that is not empty.
func (a *authorities) addToBundles() (first string, err error) {
	for _, p := range slices.Concat(bundlePaths[:], otherBundles[:]) {
		e, text, err := a.lower.read(p)
		if err != nil {
			return "", err
		}
		if e == nil {
			continue
		}
		if first == "" {
			first = text
		}
		if sum := a.extended(text); sum != text {
			a.put(withText(e, sum))
		}
	}
	return first, nil
}

// extended returns a bundle with the missing certificates added.
func (a *authorities) extended(text string) string {
	have := map[string]bool{}
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == certificateBlock || block.Type == trustedBlock {
			have[string(firstDER(block.Bytes))] = true
		}
	}
	for _, der := range a.certificates {
		if !have[string(der)] {
			have[string(der)] = true
			text = ended(text) + pemText(der)
		}
	}
	return text
}

// firstDER returns the ASN.1 value that data begins with; all of data if there is none.
func firstDER(data []byte) []byte {
	var v asn1.RawValue
	if _, err := asn1.Unmarshal(data, &v); err != nil {
		return data
	}
	return v.FullBytes
}

func pemText(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: der}))
}

// addToDirectories adds to the directories of certificates by hash.
func (a *authorities) addToDirectories() error {
	seen := map[string]bool{}
	for _, p := range hashDirectories {
		dir := a.lower.visible(p)
		if dir == nil || dir.Type != tree.Dir || seen[dir.Path] || !a.hasHashes(dir.Path) {
			continue
		}
		seen[dir.Path] = true
		if err := a.addToDirectory(dir.Path); err != nil {
			return err
		}
	}
	return nil
}

var hashName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-f]{8}\.[0-9]+$`) })

// hasHashes reports whether a directory has certificates by hash, and not only bundles.
func (a *authorities) hasHashes(dir string) bool {
	return slices.ContainsFunc(a.lower.Entries, func(e *tree.Entry) bool {
		return strings.HasPrefix(e.Path, dir+"/") && path.Dir(e.Path) == dir && hashName().MatchString(path.Base(e.Path))
	})
}

// addToDirectory adds each certificate under the first free number, where OpenSSL
// stops looking, unless a lower number has it already.
func (a *authorities) addToDirectory(dir string) error {
	next := map[string]int{}
	for i, der := range a.certificates {
		hash, err := subjectHash(der)
		if err != nil {
			return fmt.Errorf("certificate %d of the bundle: %w", i+1, err)
		}
		there := slices.ContainsFunc(a.certificates[:i], func(other []byte) bool { return string(other) == string(der) })
		for ; !there; next[hash]++ {
			name := fmt.Sprintf("%s/%s.%d", dir, hash, next[hash])
			if a.lower.visible(name) == nil && tree.Find(a.lower.Entries, name) == nil {
				a.put(tree.NewFile(name, 0o644, pemText(der)))
				next[hash]++
				break
			}
			if there, err = a.holds(name, der); err != nil {
				return err
			}
		}
	}
	return nil
}

// holds reports whether a file of lower layers contains a certificate.
func (a *authorities) holds(name string, der []byte) (bool, error) {
	if e := a.lower.visible(name); e == nil || e.Type != tree.Regular {
		return false, nil
	}
	_, text, err := a.lower.read(name)
	if err != nil {
		return false, err
	}
	one := authorities{certificates: [][]byte{der}}
	return one.extended(text) == text, nil
}
