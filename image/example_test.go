package image_test

import (
	"context"
	"fmt"
	"log"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// An image of one layer. varve.NewImage and varve.Write take it to any place.
func ExampleNew() {
	ctx := context.Background()
	entries, err := tree.Complete([]*tree.Entry{tree.NewFile("etc/motd", 0o644, "hello\n")})
	if err != nil {
		log.Fatal(err)
	}
	sequence := func() tree.Seq { return tree.All(entries) }
	config := &image.Config{}
	config.Set("Cmd", []any{"/bin/hello"})
	img := image.New(image.Description{
		Layers:  []image.Layer{layer.New(sequence, layer.Options{Prefix: "./"})},
		History: []image.History{{Created: "1970-01-01T00:00:01Z", CreatedBy: "example"}},
		Created: "1970-01-01T00:00:01Z", Architecture: "amd64", OS: "linux",
		Config: config,
	})
	id, err := image.ID(ctx, img)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(id)
	fmt.Println(img.Platform().Architecture)
	// Output:
	// sha256:10cfa88b9681c6902682cd63f528c74fa8ba054caf648acc0e55e16e0ad5fd9f
	// amd64
}
