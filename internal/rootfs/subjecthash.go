package rootfs

import (
	"crypto/sha1"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// rawCertificate is a certificate (RFC 5280, 4.1) up to its subject.
type rawCertificate struct {
	TBS struct {
		Version            int `asn1:"optional,explicit,default:0,tag:0"`
		SerialNumber       asn1.RawValue
		SignatureAlgorithm asn1.RawValue
		Issuer             asn1.RawValue
		Validity           asn1.RawValue
		Subject            []attributeSET
		PublicKey          asn1.RawValue
	}
	SignatureAlgorithm asn1.RawValue
	Signature          asn1.RawValue
}

// attribute is a part of a name, and attributeSET a set of them that counts as one.
// encoding/asn1 recognises a SET by its type's name.
type (
	attribute struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	attributeSET []attribute
)

// subjectHash returns the name under which OpenSSL looks up a certificate in a
// directory: the start of the SHA-1 of its subject, in a form that ignores case,
// spaces and kinds of strings (X509_NAME_hash_ex).
func subjectHash(der []byte) (string, error) {
	var c rawCertificate
	if _, err := asn1.Unmarshal(der, &c); err != nil {
		return "", fmt.Errorf("it is not an X.509 certificate: %w", err)
	}
	hash := sha1.New()
	for _, set := range c.TBS.Subject {
		for i := range set {
			value, err := canonicalValue(set[i].Value)
			if err != nil {
				return "", fmt.Errorf("its subject: %w", err)
			}
			set[i].Value = value
		}
		data, err := asn1.MarshalWithParams([]attribute(set), "set")
		if err != nil {
			return "", fmt.Errorf("its subject: %w", err)
		}
		hash.Write(data)
	}
	return fmt.Sprintf("%08x", binary.LittleEndian.Uint32(hash.Sum(nil))), nil
}

// canonicalValue returns a string of a name as OpenSSL compares it; a value that is
// not a string stays as it is.
func canonicalValue(v asn1.RawValue) (asn1.RawValue, error) {
	if v.Class != asn1.ClassUniversal {
		return asn1.RawValue{FullBytes: v.FullBytes}, nil
	}
	text, isString, err := utf8Text(v)
	if err != nil || !isString {
		return asn1.RawValue{FullBytes: v.FullBytes}, err
	}
	isSpace := func(r rune) bool { return strings.ContainsRune(" \t\n\v\f\r", r) }
	text = strings.Join(strings.FieldsFunc(text, isSpace), " ")
	lower := []byte(text)
	for i, c := range lower {
		if c >= 'A' && c <= 'Z' {
			lower[i] += 'a' - 'A'
		}
	}
	return asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagUTF8String, Bytes: lower}, nil
}

// tagUniversalString is a tag that encoding/asn1 does not name (X.680).
const tagUniversalString = 28

// utf8Text returns the text of the kinds of strings that names have.
func utf8Text(v asn1.RawValue) (text string, isString bool, err error) {
	switch v.Tag {
	case asn1.TagUTF8String:
		if !utf8.Valid(v.Bytes) {
			return "", true, errors.New("a string is not UTF-8")
		}
		return string(v.Bytes), true, nil
	case asn1.TagPrintableString, asn1.TagT61String, asn1.TagIA5String:
		runes := make([]rune, len(v.Bytes))
		for i, c := range v.Bytes { // OpenSSL takes all of these for Latin-1
			runes[i] = rune(c)
		}
		return string(runes), true, nil
	case asn1.TagBMPString, tagUniversalString:
		text, err = wideText(v)
		return text, true, err
	}
	return "", false, nil
}

// wideText returns the text of a string of two or four bytes a character.
func wideText(v asn1.RawValue) (string, error) {
	width := 2
	if v.Tag == tagUniversalString {
		width = 4
	}
	if len(v.Bytes)%width != 0 {
		return "", errors.New("a string ends within a character")
	}
	var units []uint16
	var runes []rune
	for c := range slices.Chunk(v.Bytes, width) {
		if width == 2 {
			units = append(units, binary.BigEndian.Uint16(c))
		} else {
			runes = append(runes, rune(binary.BigEndian.Uint32(c)))
		}
	}
	return string(append(runes, utf16.Decode(units)...)), nil
}
