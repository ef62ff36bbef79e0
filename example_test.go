package varve_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"

	"github.com/varve-image/varve"
	"github.com/varve-image/varve/spec"
)

func TestMain(m *testing.M) {
	varve.Init() // examples with scripts start this program again
	os.Exit(m.Run())
}

// exampleDir returns a new directory with a small tree to make images of.
func exampleDir() string {
	dir, err := os.MkdirTemp("", "varve-example-")
	if err == nil {
		err = os.MkdirAll(filepath.Join(dir, "rootfs", "etc"), 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "rootfs", "etc", "motd"), []byte("hello\n"), 0o644)
	}
	if err == nil {
		text := "name: hello\ntag: \"1\"\ncopyToRoot: [./rootfs]\nconfig: {Cmd: [/bin/hello]}\narchitecture: amd64\n"
		err = os.WriteFile(filepath.Join(dir, "image.yaml"), []byte(text), 0o644)
	}
	if err != nil {
		log.Fatal(err)
	}
	return dir
}

// The image of a spec file, written into an OCI layout.
func Example() {
	ctx := context.Background()
	dir := exampleDir()
	defer os.RemoveAll(dir)

	img, err := varve.BuildFile(ctx, filepath.Join(dir, "image.yaml"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()
	written, err := varve.Write(ctx, img, "oci:"+dir+"/images:hello", nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(written.ID)
	fmt.Println(strings.Join(written.Names, ", "))
	// Output:
	// sha256:ea5ebbcde4fb863e9e238c3de7f402172f0aa4bcb360f7b45e9259a05cbcb01c
	// hello:1, hello
}

// A directory becomes an image in a registry, without a spec file.
func ExampleBuild() {
	ctx := context.Background()
	dir := exampleDir()
	defer os.RemoveAll(dir)
	server := httptest.NewServer(ociserver.New(ocimem.New(), nil))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")

	s := spec.New("example/hello")
	s.Architecture = "arm64"
	s.CopyToRoot = []spec.Copy{{Source: filepath.Join(dir, "rootfs")}}
	s.Config.Set("Cmd", []any{"/bin/hello"})
	img, err := varve.Build(ctx, s, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()
	opts := &varve.Options{Registry: varve.Registry{InsecureHosts: []string{host}}}
	written, err := varve.Write(ctx, img, "docker://"+host+"/example/hello:1", opts)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(written.Manifest.Digest)
	fmt.Println(written.Manifest.Platform.Architecture)
	// Output:
	// sha256:857e66de1aabc62d0de0452d3e1d99d153fed33f29068e34a41f1d0df991c370
	// arm64
}

// The files of an image, as its layers show them.
func ExampleImage_Files() {
	ctx := context.Background()
	dir := exampleDir()
	defer os.RemoveAll(dir)
	build(ctx, dir, dir+"/hello.tar")

	img, err := varve.Open(ctx, dir+"/hello.tar", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()
	files, err := img.Files(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer files.Close()
	for _, e := range files.Entries {
		fmt.Printf("%04o %d:%d %s\n", e.Mode, e.UID, e.GID, e.Path)
	}
	// Output:
	// 0755 0:0 .
	// 0755 0:0 etc
	// 0644 0:0 etc/motd
}

// A copy between places: from a docker-archive into an OCI layout.
func ExampleCopy() {
	ctx := context.Background()
	dir := exampleDir()
	defer os.RemoveAll(dir)
	build(ctx, dir, dir+"/hello.tar")

	written, err := varve.Copy(ctx, dir+"/hello.tar", "oci:"+dir+"/images", nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, w := range written {
		fmt.Println(w.ID, strings.Join(w.Names, ", "))
	}
	// Output:
	// sha256:ea5ebbcde4fb863e9e238c3de7f402172f0aa4bcb360f7b45e9259a05cbcb01c hello:1
}

// build writes the example's image.
func build(ctx context.Context, dir, ref string) {
	img, err := varve.BuildFile(ctx, filepath.Join(dir, "image.yaml"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()
	if _, err := varve.Write(ctx, img, ref, nil); err != nil {
		log.Fatal(err)
	}
}
