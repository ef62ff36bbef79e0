package layer_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// A layer of entries: its diffID is known before it is written.
func ExampleNew() {
	ctx := context.Background()
	entries, err := tree.Complete([]*tree.Entry{tree.NewFile("etc/motd", 0o644, "hello\n")})
	if err != nil {
		log.Fatal(err)
	}
	sequence := func() tree.Seq { return tree.All(entries) }
	l := layer.New(sequence, layer.Options{Prefix: "./", Title: "motd"})
	info, err := l.Info(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.DiffID, info.Size)

	var written bytes.Buffer
	if err := l.Write(ctx, &written); err != nil {
		log.Fatal(err)
	}
	for r := tar.NewReader(&written); ; {
		hdr, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(hdr.FileInfo().Mode(), hdr.Name)
	}
	// Output:
	// sha256:e9811c4fd068de2c89d9c09e89e619b30ff912f98ef7d5bdfb4efb8e195251d0 10240
	// drwxr-xr-x ./
	// drwxr-xr-x ./etc/
	// -rw-r--r-- ./etc/motd
}

// A blob that is not what its descriptor says is an error when it is read to its end.
func ExampleVerify() {
	d := v1.Descriptor{Digest: digest.FromString("hello\n"), Size: 6}
	for _, text := range []string{"hello\n", "hallo\n"} {
		data, err := io.ReadAll(layer.Verify(io.NopCloser(bytes.NewReader([]byte(text))), d))
		var mismatch *layer.DigestError
		fmt.Printf("%q %v\n", data, errors.As(err, &mismatch))
	}
	// Output:
	// "hello\n" false
	// "hallo\n" true
}
