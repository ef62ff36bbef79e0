// Command hello greets whoever it is given, and says what it was compiled for.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

func main() {
	who := "world"
	if len(os.Args) > 1 {
		who = strings.Join(os.Args[1:], " ")
	}
	fmt.Printf("Hello, %s, from %s/%s.\n", who, runtime.GOOS, runtime.GOARCH)
}
