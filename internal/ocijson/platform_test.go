package ocijson

import (
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func platformOf(text string) *v1.Platform {
	if text == "" {
		return nil
	}
	parts := append(strings.Split(text, "/"), "")
	return &v1.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		want, index string
		// chosen is the platform's position, from 1; fails is what the error contains.
		chosen int
		fails  string
	}{
		{"linux/amd64", "linux/amd64 linux/arm64", 1, ""},
		{"linux/arm64", "linux/amd64 linux/arm64/v8", 2, ""},
		{"linux/arm64/v8", "linux/amd64 linux/arm64", 2, ""},
		{"linux/arm/v7", "linux/arm/v6 linux/arm/v7", 2, ""},
		{"linux/arm", "linux/arm/v6 linux/arm/v7", 1, ""},
		{"linux/arm", "linux/arm/v6 linux/arm", 2, ""},
		{"linux/arm/v7", "linux/arm/v6", 0, "0 images are for platform linux/arm/v7"},
		{"linux/amd64", "linux/amd64/v3 linux/amd64", 2, ""},
		{"linux/amd64", "linux/arm64 linux/amd64/v3 linux/amd64/v2", 2, ""},
		{"linux/amd64", "linux/amd64 linux/amd64", 1, ""},
		{"linux/amd64", "linux/arm64 linux/amd64 linux/amd64", 2, ""},
		{"linux/amd64/v1", "linux/amd64/v3 linux/amd64", 2, ""},
		{"linux/amd64/v1", "linux/amd64/v3", 0, "0 images are for platform linux/amd64/v1"},
		{"linux/amd64", "linux/amd64/v3 linux/amd64/v1", 2, ""},
		{"linux/amd64/v3", "linux/amd64", 0, "0 images are for platform linux/amd64/v3"},
		{"linux/x86_64", "linux/arm64 linux/amd64", 2, ""},
		{"linux/amd64", "linux/aarch64 linux/x86_64", 2, ""},
		{"linux/aarch64", "linux/amd64 linux/arm64/v8", 2, ""},
		{"linux/arm64", "linux/arm64/v9 linux/arm64/v8", 2, ""},
		{"linux/arm64/v8", "linux/arm64/v9", 0, "0 images are for platform linux/arm64/v8"},
		{"linux/armhf", "linux/arm/v6 linux/arm/v7", 2, ""},
		{"linux/arm64", "windows/arm64 linux/arm64", 2, ""},
		{"linux/s390x", "linux/amd64 windows/amd64", 0, "0 images are for platform linux/s390x; the index has linux/amd64, windows/amd64"},
		{"linux/amd64", "", 0, "the index has no images"},
		{"", "linux/amd64", 1, ""},
		{"", "linux/amd64 linux/arm64", 0, "one platform has to be chosen"},
	} {
		var list []v1.Descriptor
		for i, text := range strings.Fields(c.index) {
			list = append(list, v1.Descriptor{Platform: platformOf(text), Size: int64(i + 1)})
		}
		var want v1.Platform
		if p := platformOf(c.want); p != nil {
			want = *p
		}
		i, err := Choose(list, want)
		switch {
		case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
			t.Errorf("%s of %q: error %v, want one with %q", c.want, c.index, err, c.fails)
		case c.fails == "" && (err != nil || i+1 != c.chosen):
			t.Errorf("%s of %q: number %d, %v, want %d", c.want, c.index, i+1, err, c.chosen)
		}
	}
}

func TestCheckAnnounced(t *testing.T) {
	platform := func(text string) v1.Platform {
		parts := append(strings.Split(text, "/"), "", "")
		return v1.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
	}
	for _, c := range []struct {
		index, config string
		good          bool
	}{
		{"linux/amd64", "linux/amd64", true}, {"linux/arm64/v8", "linux/arm64", true}, {"linux/arm64", "linux/arm64/v8", true},
		{"linux/amd64", "linux/x86_64", true}, {"linux/aarch64", "linux/arm64", true}, {"linux/aarch64", "linux/amd64", false},
		{"linux/arm/v7", "linux/arm/v7", true}, {"unknown/unknown", "linux/amd64", true}, {"linux/amd64", "", true}, {"unknown/unknown", "", true},
		{"linux/arm64", "linux/amd64", false}, {"linux/arm/v6", "linux/arm/v7", false}, {"windows/amd64", "linux/amd64", false}, {"linux/arm64", "/amd64", false},
	} {
		index := platform(c.index)
		if err := CheckAnnounced(&index, platform(c.config)); (err == nil) != c.good {
			t.Errorf("%s, %s: %v", c.index, c.config, err)
		}
	}
	if err := CheckAnnounced(nil, platform("linux/amd64")); err != nil {
		t.Error(err)
	}
}
