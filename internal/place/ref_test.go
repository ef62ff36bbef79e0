package place

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/compress"
)

var someDigest = "sha256:" + strings.Repeat("a", 64)

// refCase is a reference as it is written, and its meaning or the text of its error.
type refCase struct {
	text string
	want Ref
	err  string
}

func checkParse(t *testing.T, parse func(string) (Ref, error), cases []refCase) {
	t.Helper()
	for _, c := range cases {
		got, err := parse(c.text)
		if c.err == "" {
			if err != nil || got != c.want {
				t.Errorf("%q: %+v, %v; want %+v", c.text, got, err, c.want)
			}
			continue
		}
		var ref *RefError
		if err == nil || !strings.Contains(err.Error(), c.err) || !errors.As(err, &ref) {
			t.Errorf("%q: %+v, %T %v; want a RefError with %q", c.text, got, err, err, c.err)
		}
	}
}

func TestParseSource(t *testing.T) {
	checkParse(t, ParseSource, []refCase{
		// A reference without a transport is a path, whatever it looks like.
		{"a.tar", Ref{Path: "a.tar"}, ""},
		{"dir/", Ref{Path: "dir/"}, ""},
		{"-", Ref{Path: "-"}, ""},
		{"app:1", Ref{Path: "app:1"}, ""},
		{"registry.example/app:1", Ref{Path: "registry.example/app:1"}, ""},
		{"https://registry.example/app:1", Ref{Path: "https://registry.example/app:1"}, ""},
		{"docker:app:1", Ref{Path: "docker:app:1"}, ""},
		{"podman:app:1", Ref{Path: "podman:app:1"}, ""},
		{":a", Ref{Path: ":a"}, ""},
		{"OCI:a", Ref{Path: "OCI:a"}, ""},

		{"docker-archive:a.img", Ref{DockerArchive, "a.img", ""}, ""},
		{"docker-archive:a.img:registry.example:5000/a:2", Ref{DockerArchive, "a.img", "registry.example:5000/a:2"}, ""},
		{"docker-archive:a.img:@1", Ref{DockerArchive, "a.img", "@1"}, ""},
		{"docker-archive:-", Ref{DockerArchive, "-", ""}, ""},
		{"oci:dir", Ref{OCIDir, "dir", ""}, ""},
		{"oci:dir:v1", Ref{OCIDir, "dir", "v1"}, ""},
		{"oci:dir:a:b:c", Ref{OCIDir, "dir", "a:b:c"}, ""},
		{"oci:dir@" + someDigest, Ref{OCIDir, "dir", "@" + someDigest}, ""},
		{"oci:dir@home:v1", Ref{OCIDir, "dir@home", "v1"}, ""},
		{"oci-archive:a.tar:@" + someDigest, Ref{OCIArchive, "a.tar", "@" + someDigest}, ""},
		{"dir:out", Ref{ImageDir, "out", ""}, ""},
		{"docker://app", Ref{Registry, "", "app"}, ""},
		{"docker://localhost:5000/app:1", Ref{Registry, "", "localhost:5000/app:1"}, ""},
		{"docker://registry.example/app@" + someDigest, Ref{Registry, "", "registry.example/app@" + someDigest}, ""},
		{"docker-daemon:app:1", Ref{DockerDaemon, "", "app:1"}, ""},
		{"docker-daemon:" + someDigest, Ref{DockerDaemon, "", someDigest}, ""},
		{"containers-storage:localhost/app:1", Ref{ContainersStorage, "", "localhost/app:1"}, ""},
		{"containerd:app:1", Ref{Containerd, "", "app:1"}, ""},

		{"docker://", Ref{}, "the name is missing"},
		{"docker-daemon:", Ref{}, `image "docker-daemon:": the name is missing`},
		{"oci:", Ref{}, `image "oci:": the path is missing`},
		{"oci::v1", Ref{}, "the path is missing"},
		{"docker-archive:", Ref{}, "the path is missing"},
		{"dir:", Ref{}, "the path is missing"},
		{"layer:dir", Ref{}, "a layer by itself is not an image"},
		{"docker://registry.example/Hello:1", Ref{}, "must be lowercase"},
		{"docker://registry.example/hello@sha256:abc", Ref{}, "write it as HOST/NAME:TAG or HOST/NAME@sha256:"},
		{"docker://https://registry.example/hello", Ref{}, "image reference"},
		{"docker://registry.example", Ref{}, "it has no name"},
	})
}

func TestParseTarget(t *testing.T) {
	checkParse(t, ParseTarget, []refCase{
		// The ending of a reference without a transport says what to write.
		{"a.tar", Ref{Archive, "a.tar", ""}, ""},
		{"a.tar.gz", Ref{DockerArchive, "a.tar.gz", ""}, ""},
		{"a.tgz", Ref{DockerArchive, "a.tgz", ""}, ""},
		{"a.tar.zst", Ref{DockerArchive, "a.tar.zst", ""}, ""},
		{"a:b.tar", Ref{Archive, "a:b.tar", ""}, ""},
		{"dir/", Ref{OCIDir, "dir/", ""}, ""},
		{"a.tar/", Ref{OCIDir, "a.tar/", ""}, ""},
		{"-", Ref{Archive, "-", ""}, ""},

		{"archive:x.img", Ref{Archive, "x.img", ""}, ""},
		{"archive:a.tar:registry.example:5000/foo/bar:2", Ref{Archive, "a.tar", "registry.example:5000/foo/bar:2"}, ""},
		{"archive:-:app:1", Ref{Archive, "-", "app:1"}, ""},
		{"docker-archive:x.img:registry.example:5000/foo/bar:2", Ref{DockerArchive, "x.img", "registry.example:5000/foo/bar:2"}, ""},
		{"docker-archive:-:app:1", Ref{DockerArchive, "-", "app:1"}, ""},
		{"oci:dir:any@name", Ref{OCIDir, "dir", "any@name"}, ""},
		{"oci-archive:a.tar:v1", Ref{OCIArchive, "a.tar", "v1"}, ""},
		{"oci-archive:a.img", Ref{OCIArchive, "a.img", ""}, ""},
		{"oci-archive:-", Ref{OCIArchive, "-", ""}, ""},
		{"dir:out", Ref{ImageDir, "out", ""}, ""},
		{"layer:out", Ref{LayerDir, "out", ""}, ""},
		{"docker://registry.example/app", Ref{Registry, "", "registry.example/app"}, ""},
		{"docker://registry.example/app:1", Ref{Registry, "", "registry.example/app:1"}, ""},
		{"docker-daemon:app:1", Ref{DockerDaemon, "", "app:1"}, ""},
		{"docker-daemon:", Ref{DockerDaemon, "", ""}, ""},
		{"containerd:", Ref{Containerd, "", ""}, ""},

		{"hello", Ref{}, `destination "hello": its name does not say what it is to be`},
		{"", Ref{}, "does not say"},
		{"docker:app:1", Ref{}, "does not say"},
		{"docker://registry.example/hello@sha256:0", Ref{}, "an image is written by tag"},
		{"docker://registry.example/Hello:1", Ref{}, `destination "docker://registry.example/Hello:1": `},
		{"docker://localhost:5444", Ref{}, "has no name"},
		{"docker://127.0.0.1:5444", Ref{}, "has no name"},
		{"docker://", Ref{}, "destination"},
		{"docker-daemon:HELLO", Ref{}, `destination "docker-daemon:HELLO": image name`},
		{"docker-daemon:hello", Ref{}, "is not NAME:TAG"},
		{"docker-archive:y.img:no tag", Ref{}, `"no tag"`},
		{"docker-archive:", Ref{}, "the path is missing"},
		{"archive:", Ref{}, "the path is missing"},
		{"archive:y.img:no tag", Ref{}, `"no tag"`},
		{"archive:a.tar:@0", Ref{}, "an image is written by name"},
		{"oci::v1", Ref{}, "the path is missing"},
		{"dir:", Ref{}, "the path is missing"},
		{"layer:", Ref{}, "the path is missing"},
		{"oci:dir:@0", Ref{}, "an image is written by name"},
		{"oci:dir@" + someDigest, Ref{}, "an image is written by name"},
		{"docker-archive:a.tar:@" + someDigest, Ref{}, "an image is written by name"},
		{"a.tar.xz", Ref{}, "varve does not compress archives with xz"},
		{"docker-archive:a.tar.bz2", Ref{}, "varve does not compress archives with bzip2"},
		{"oci-archive:a.tar.gz", Ref{}, "the archive of an OCI layout is not compressed"},
		{"archive:a.tar.gz", Ref{}, "an archive with an OCI layout is not compressed"},
		{"archive:a.tar.xz:app:1", Ref{}, "an archive with an OCI layout is not compressed"},
		{"oci-archive:a.tar.xz:v1", Ref{}, "the archive of an OCI layout is not compressed"},
	})
}

// TestTargetHints: an error says what to write instead.
func TestTargetHints(t *testing.T) {
	for text, want := range map[string][]string{
		"docker:app:1":      {"an image of a registry is written docker://app:1", "one that Docker has is docker-daemon:app:1", "end it in .tar for "},
		"hello.yaml":        {"end it in .tar for "},
		"a.tar.xz":          {"end it in .tar, .tar.gz or .tar.zst"},
		"oci-archive:a.tgz": {"end it in .tar"},
		"archive:a.tgz":     {"end it in .tar, or write docker-archive:a.tgz"},
		"docker://x@y":      nil,
	} {
		_, err := ParseTarget(text)
		var ref *RefError
		if !errors.As(err, &ref) || !slices.EqualFunc(ref.Hints, want, strings.HasPrefix) {
			t.Errorf("%q: %v, hints %q, want %q", text, err, ref.Hints, want)
		}
	}
}

func TestHints(t *testing.T) {
	registry := func(name string) string { return "an image of a registry is written docker://" + name }
	docker := func(name string) string { return "one that Docker has is docker-daemon:" + name }
	for text, want := range map[string][]string{
		"debian:12":                      {registry("debian:12"), docker("debian:12")},
		"registry.example/app:1":         {registry("registry.example/app:1"), docker("registry.example/app:1")},
		"docker:app:1":                   {registry("app:1"), docker("app:1")},
		"registry:app:1":                 {registry("app:1"), docker("app:1")},
		"image://app:1":                  {registry("app:1"), docker("app:1")},
		"podman:app:1":                   {"one that Podman has is written containers-storage:app:1", registry("app:1")},
		"https://registry.example/app:1": {registry("registry.example/app:1")},
		"http://localhost:5000/app":      {registry("localhost:5000/app")},
		"missing.tar":                    nil, "a.tar.gz": nil, "a.gz": nil, "image.yaml": nil, "conf.json": nil, "default.nix": nil, "x.drv": nil,
		"./missing": nil, "/missing": nil, "../x": nil, "": nil, "Upper": nil, "two words": nil, "docker:Upper": nil,
	} {
		if got := Hints(text); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestArchiveCompression: an archive's name says how it is compressed, or nothing does.
func TestArchiveCompression(t *testing.T) {
	for name, want := range map[string]compress.Algorithm{
		"a.tar": compress.None, "a.tar.gz": compress.Gzip, "a.tgz": compress.Gzip, "d.x/a.tar.zst": compress.Zstd,
		"a.tar.xz": "", "a.tar.bz2": "", "a": "", "-": "", "a.gz": "", "a.tar.gz/": "", "A.TAR": "",
	} {
		if got, ok := ArchiveCompression(name); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q, %v; want %q", name, got, ok, want)
		}
		if got, ok := (Ref{Transport: DockerArchive, Path: name}).Archived(); ok != (want != "") || ok && got != want {
			t.Errorf("docker-archive:%s: %q, %v; want %q", name, got, ok, want)
		}
		if got, ok := (Ref{Transport: Archive, Path: name}).Archived(); !ok || got != compress.None {
			t.Errorf("%q: an archive with a layout: %q, %v", name, got, ok)
		}
		for _, other := range []Transport{Unknown, OCIArchive, OCIDir, ImageDir, Registry} {
			if got, ok := (Ref{Transport: other, Path: name}).Archived(); ok || got != "" {
				t.Errorf("%s:%s: %q", other, name, got)
			}
		}
	}
}

func TestIsNamed(t *testing.T) {
	for text, want := range map[string]bool{
		"a.tar": false, "-": false, "dir/": false, "docker-archive:a.tar": false, "docker-archive:a.tar:app:1": true,
		"oci:dir": false, "oci:dir:v1": true, "oci-archive:a.tar:v1": true, "dir:out": false,
		"docker://registry.example/app": false, "docker://localhost:5000/app": false, "docker://registry.example/app:1": true,
		"docker-daemon:": false, "docker-daemon:app:1": true, "containerd:": false,
	} {
		r, err := ParseTarget(text)
		if err != nil || r.IsNamed() != want {
			t.Errorf("%q: %v, %v; want %v", text, r.IsNamed(), err, want)
		}
	}
}

// TestTransports: what is known of each kind of place without opening one.
func TestTransports(t *testing.T) {
	is := func(keep func(Transport) bool) string {
		var all []string
		for _, name := range Names() {
			text, _, _ := strings.Cut(name, ":")
			if keep(Transport(text)) {
				all = append(all, text)
			}
			if Transport(text).Kind() == "" {
				t.Errorf("messages have no word for %s", text)
			}
		}
		return strings.Join(all, " ")
	}
	if got, want := fmt.Sprint(Names()), "[archive: containerd: containers-storage: dir: docker-archive: docker-daemon: docker:// layer: oci-archive: oci:]"; got != want {
		t.Errorf("transports %s, want %s", got, want)
	}
	if got := is(Transport.IsEngine); got != "containerd containers-storage docker-daemon" {
		t.Errorf("engines: %s", got)
	}
	if got := is(Transport.TakesIndex); got != "archive containerd dir docker-daemon docker oci-archive oci" {
		t.Errorf("places for an index: %s", got)
	}
	if got := is(Transport.HasManifests); got != "archive dir docker oci-archive oci" {
		t.Errorf("places that keep manifests: %s", got)
	}
	if got := is(Transport.HasRepoTags); got != "archive containerd containers-storage docker-archive docker-daemon" {
		t.Errorf("places of NAME:TAG alone: %s", got)
	}
}

func TestRefString(t *testing.T) {
	for text, want := range map[string]string{
		"a.tar": "a.tar", "-": "-", "oci:dir:v1": "dir", "docker-archive:a.img:app:1": "a.img",
		"docker://registry.example/app:1": "docker://registry.example/app:1", "docker-daemon:app:1": "docker-daemon",
	} {
		if r, err := ParseSource(text); err != nil || r.String() != want {
			t.Errorf("%q: %q, %v; want %q", text, r, err, want)
		}
	}
}

// TestCheckIndex: the error of a place for one platform names places for several.
func TestCheckIndex(t *testing.T) {
	for text, want := range map[string]string{
		"a.tar.gz": `"a.tar.gz": a docker-archive has no place for`, "docker-archive:a.tar": "a docker-archive has no place for",
		"a.tar": "", "archive:a.img": "", "-": "", "docker-daemon:app:1": "", "containerd:app:1": "", "containers-storage:app:1": "an engine has no place for", "layer:x": "a layer has no place for",
		"oci:dir": "", "oci-archive:a.tar": "", "dir:x": "", "docker://registry.example/app": "",
	} {
		r, err := ParseTarget(text)
		if err != nil {
			t.Fatal(err)
		}
		err = r.CheckIndex(text)
		var ref *RefError
		if want == "" && err != nil || want != "" && (!errors.As(err, &ref) || !strings.Contains(err.Error(), want) || len(ref.Hints) != 1) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
