// Command varve builds container images.
package main

import (
	"os"

	"github.com/varve-image/varve/internal/cli"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/sandbox/userns"
	"github.com/varve-image/varve/internal/sandbox/vm"
)

func main() {
	if code, ok := userns.Main(); ok {
		os.Exit(code)
	}
	if code, ok := vm.Main(); ok {
		os.Exit(code)
	}
	os.Exit(cli.Main(os.Args[1:], cmdline.Process()))
}
