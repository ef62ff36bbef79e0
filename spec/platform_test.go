package spec

import (
	"strings"
	"testing"
)

func TestPlatformInPaths(t *testing.T) {
	const in = `
name: hello
fromImage: docker://${arch}/debian@sha256:0000000000000000000000000000000000000000000000000000000000000000
contents: /store/${os}-${arch}
copyToRoot:
  - {source: "out/${platform}/hello", target: "/${arch}/"}
  - out/${arch}${variant}
  - $${arch}/$x/$$/}
closure: ${arch}.json
layers: [{copyToRoot: "layer-${arch}"}]
presets: [{caCertificates: "ca-${arch}.pem"}]
`
	for _, c := range []struct {
		more     string
		platform Platform
		arch     string // what ${arch} is
		full     string // and ${platform}
		variant  string
	}{
		{"", Platform{}, "riscv64", "linux/riscv64", ""},
		{"architecture: s390x", Platform{}, "s390x", "linux/s390x", ""},
		{"architecture: aarch64", Platform{}, "arm64", "linux/arm64", ""},
		{"architecture: armhf", Platform{}, "arm", "linux/arm/v7", "v7"},
		{"architecture: armv7l\nvariant: v6", Platform{}, "arm", "linux/arm/v6", "v6"},
		{"architecture: arm\nvariant: v6", Platform{"linux", "x86_64", ""}, "amd64", "linux/amd64", ""},
		{"architecture: arm\nvariant: v6", Platform{}, "arm", "linux/arm/v6", "v6"},
		{"architecture: arm\nvariant: v6", Platform{"linux", "arm", "v7"}, "arm", "linux/arm/v7", "v7"},
		{"architecture: arm\nvariant: v6", Platform{"linux", "arm64", ""}, "arm64", "linux/arm64", ""},
	} {
		s, err := Parse(strings.NewReader(in+c.more), Options{Dir: "/src", Platform: c.platform, Architecture: "riscv64"})
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		for got, want := range map[string]string{
			s.FromImage: "docker://" + c.arch + "/debian@sha256:" + strings.Repeat("0", 64), s.Contents[0]: "/store/linux-" + c.arch,
			s.CopyToRoot[0].Source: "/src/out/" + c.full + "/hello", s.CopyToRoot[0].Target: "/${arch}/",
			s.CopyToRoot[1].Source: "/src/out/" + c.arch + c.variant, s.CopyToRoot[2].Source: "/src/${arch}/$x/$$/}",
			s.Closure: "/src/" + c.arch + ".json", s.Layers[0].CopyToRoot[0].Source: "/src/layer-" + c.arch, s.Presets[0].Path: "/src/ca-" + c.arch + ".pem",
		} {
			if got != want {
				t.Errorf("%+v: %q, want %q", c, got, want)
			}
		}
		if want := (Platform{"linux", c.arch, c.variant}); c.more != "" && (Platform{s.OS, s.Architecture, s.Variant}) != want {
			t.Errorf("%+v: the image is for %q %q %q", c, s.OS, s.Architecture, s.Variant)
		}
	}
}

func TestPlatformErrors(t *testing.T) {
	for in, want := range map[string]string{
		"copyToRoot: out/${ARCH}": `"${ARCH}" is none of ${arch}, ${os}, ${platform}, ${variant}`,
		"copyToRoot: out/${plat}": `none of`,
		"copyToRoot: out/${arch":  `no end of its ${`,
		"fromImage: oci:${x}:1":   `"${x}" is none of`,
		"copyToRoot: ${arch}":     `the architecture is not known`,
	} {
		if _, err := Parse(strings.NewReader("name: hello\n"+in), Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", in, err, want)
		}
	}
	for _, c := range []struct {
		p    Platform
		want string
	}{
		{Platform{"linux", "vax", ""}, `platform: got "vax"`},
		{Platform{"windows", "amd64", ""}, `platform: got "windows"`},
	} {
		if _, err := Parse(strings.NewReader("name: hello"), Options{Platform: c.p}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", c.p, err, c.want)
		}
	}
}
