package nixstore

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/varve-image/varve/image/ordjson"
)

// infoOf returns an object's info, if it has that and a version.
func infoOf(o *ordjson.Object) (*ordjson.Object, bool) {
	_, versioned := o.Get("version")
	v, _ := o.Get("info")
	info, ok := v.(*ordjson.Object)
	return info, ok && versioned
}

// addVersion adds the nodes of "nix path-info --json-format 2", converted to the
// form that older versions write.
func (c *closure) addVersion(o, info *ordjson.Object) error {
	if v, _ := o.Get("version"); v != json.Number("2") {
		return fmt.Errorf("its version is %.40q, want 2: run nix path-info with --json-format 2", fmt.Sprint(v))
	}
	dir, err := o.String("storeDir")
	if err != nil {
		return err
	}
	if dir != "" && dir != c.storeDir {
		return fmt.Errorf("its paths are in %.300q, want %q", dir, c.storeDir)
	}
	for i, m := range info.Members {
		if err := c.expand(m.Value); err != nil {
			c.problems.Addf("path %.300q: %w", m.Key, err)
		}
		info.Members[i].Key = c.expandPath(m.Key)
	}
	c.addMap(info)
	return nil
}

// expandPath makes a store path from its last component.
func (c *closure) expandPath(name string) string { return c.storeDir + "/" + name }

// expand converts a path's record from version 2 to version 1.
func (c *closure) expand(value any) error {
	o, ok := value.(*ordjson.Object)
	if !ok {
		return nil // addMap reports the fault
	}
	if v, _ := o.Get("references"); v != nil {
		refs, _ := v.([]any)
		for i, ref := range refs {
			if name, ok := ref.(string); ok {
				refs[i] = c.expandPath(name)
			}
		}
	}
	if v, _ := o.Get("deriver"); v != nil {
		if name, ok := v.(string); ok {
			o.Set("deriver", c.expandPath(name))
		}
	}
	if v, _ := o.Get("narHash"); v != nil {
		hash, err := integrity(v)
		if err != nil {
			return fmt.Errorf("narHash: %w", err)
		}
		o.Set("narHash", hash)
	}
	if v, _ := o.Get("ca"); v != nil {
		ca, err := contentAddress(v)
		if err != nil {
			return fmt.Errorf("ca: %w", err)
		}
		o.Set("ca", ca)
	}
	return nil
}

// integrity reads a hash in the form of Subresource Integrity, or as an object of
// its parts.
func integrity(value any) (string, error) {
	if s, ok := value.(string); ok {
		return s, nil
	}
	o, ok := value.(*ordjson.Object)
	if !ok {
		return "", errors.New("expected a string or an object")
	}
	var parts [3]string
	for i, key := range []string{"algorithm", "format", "hash"} {
		var err error
		if parts[i], err = o.String(key); err != nil {
			return "", err
		}
	}
	if parts[1] != "base64" {
		return "", fmt.Errorf("format: got %.40q, want base64", parts[1])
	}
	return parts[0] + "-" + parts[2], nil
}

// contentAddress reads an object with method and hash, and returns the database's
// form of it.
func contentAddress(value any) (string, error) {
	o, ok := value.(*ordjson.Object)
	if !ok {
		return "", errors.New("expected an object")
	}
	method, err := o.String("method")
	if err != nil {
		return "", err
	}
	prefixes := map[string]string{"text": "text:", "flat": "fixed:", "nar": "fixed:r:", "git": "fixed:git:"}
	prefix, ok := prefixes[method]
	if !ok {
		return "", fmt.Errorf("method: got %.40q, want text, flat, nar or git", method)
	}
	v, _ := o.Get("hash")
	hash, err := integrity(v)
	if err != nil {
		return "", fmt.Errorf("hash: %w", err)
	}
	algorithm, digits, _ := strings.Cut(hash, "-")
	bytes, err := base64.StdEncoding.Strict().DecodeString(digits)
	if err != nil || len(bytes) == 0 || len(bytes) != HashSize(algorithm) {
		return "", fmt.Errorf("hash: %.100q is none as in Subresource Integrity", hash)
	}
	return prefix + algorithm + ":" + Base32(bytes), nil
}
