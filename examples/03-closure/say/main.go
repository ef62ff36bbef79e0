// Command say prints two files, whose paths are set by the linker.
package main

import (
	"fmt"
	"os"
)

var banner, text string

func main() {
	for _, name := range []string{banner, text} {
		content, err := os.ReadFile(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Print(string(content))
	}
}
