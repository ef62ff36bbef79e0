// Debstore lays installed Debian packages out as a Nix-like store: see package
// debstore.
//
//	go run ./internal/debstore/cmd/debstore STORE OUT PACKAGE...
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/varve-image/varve/internal/debstore"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: debstore STORE OUT PACKAGE...")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s, err := debstore.Make(ctx, os.Args[1], os.Args[2], os.Args[3:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "debstore: %v\n", err)
		os.Exit(1)
	}
	fmt.Printf("%d paths, %d MB, %d edges\n", s.Paths, s.Bytes>>20, s.Edges)
}
