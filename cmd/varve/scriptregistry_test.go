package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
)

// scriptRegistry is a registry in the test's process, which scripts can stop.
type scriptRegistry struct {
	server *http.Server
	addr   string
	blobs  http.Handler

	mu       sync.Mutex
	requests []string
}

func (r *scriptRegistry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, req.Method+" "+req.URL.Path)
	r.mu.Unlock()
	r.blobs.ServeHTTP(w, req)
}

// take returns the requests since the last time.
func (r *scriptRegistry) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	requests := r.requests
	r.requests = nil
	return requests
}

// start serves at the same address as before, if there was one.
func (r *scriptRegistry) start() error {
	if r.addr == "" {
		r.addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", r.addr)
	if err != nil {
		return err
	}
	r.addr = l.Addr().String()
	r.server = &http.Server{Handler: r}
	go func() { _ = r.server.Serve(l) }()
	return nil
}

// registries holds the scripts' registries.
var registries sync.Map

// registry is the command of that name:
//
//	registry start           serves, and sets $registry to HOST:PORT
//	registry stop            ends that; what was pushed is there after the next start
//	registry requests TEXT   prints the requests since the last time that hold TEXT
func registry(ts *script, args []string) error {
	found, ok := registries.Load(ts.Getenv("WORK"))
	r, _ := found.(*scriptRegistry)
	if !ok {
		r = &scriptRegistry{blobs: ociserver.New(ocimem.New(), nil)}
		registries.Store(ts.Getenv("WORK"), r)
		ts.Defer(func() {
			registries.Delete(ts.Getenv("WORK"))
			r.server.Close()
		})
	}
	switch {
	case args[0] == "start":
		err := r.start()
		ts.Setenv("registry", r.addr)
		return err
	case args[0] == "stop":
		return r.server.Close()
	case args[0] == "requests" && len(args) == 2:
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, line := range r.requests {
			if strings.Contains(line, args[1]) {
				fmt.Fprintln(ts.Stdout(), line)
			}
		}
		r.requests = nil
		return nil
	}
	return errors.New("usage: registry start | stop | requests TEXT")
}

// flipBit changes a bit in the middle of a file.
func flipBit(ts *script, args []string) error {
	name := ts.MkAbs(args[0])
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if len(data) == 0 {
		return fmt.Errorf("%s is empty", args[0])
	}
	data[len(data)/2] ^= 1
	return os.WriteFile(name, data, 0o644)
}

// replaceText replaces one text, which has to be there, with another.
func replaceText(ts *script, args []string) error {
	name := ts.MkAbs(args[0])
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	text := strings.Replace(string(data), args[1], args[2], 1)
	if text == string(data) {
		return fmt.Errorf("%s does not hold %q", args[0], args[1])
	}
	return os.WriteFile(name, []byte(text), 0o644)
}

// setVariable sets a variable to the text in a file between two others.
func setVariable(ts *script, args []string) error {
	text := ts.ReadFile(args[1])
	_, text, found := strings.Cut(text, args[2])
	end := "\n"
	if len(args) > 3 {
		end = args[3]
	}
	value, _, ended := strings.Cut(text, end)
	if !found || !ended {
		return fmt.Errorf("%s holds nothing between %q and %q", args[1], args[2], end)
	}
	ts.Setenv(args[0], value)
	return nil
}
