// Command site serves the files in /srv/www on port 8080. With the arguments
// "get PATH" it answers one request on standard output instead.
package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"time"
)

const (
	files   = "/srv/www"
	address = ":8080"
)

func main() {
	handler := http.FileServer(http.Dir(files))
	if len(os.Args) == 3 && os.Args[1] == "get" {
		os.Exit(get(handler, os.Args[2]))
	}
	server := http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	slog.Info("serving", "files", files, "address", address)
	fmt.Fprintln(os.Stderr, server.ListenAndServe())
	os.Exit(1)
}

// get prints the answer to one request and returns an exit code.
func get(handler http.Handler, path string) int {
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
	fmt.Print(answer.Body)
	if answer.Code != http.StatusOK {
		return 1
	}
	return 0
}
