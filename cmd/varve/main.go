// Command varve builds container images.
package main

import (
	"os"

	"github.com/varve-image/varve/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], cli.Process()))
}
