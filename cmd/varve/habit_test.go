package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// habit is a file that varve looks for although nobody named it.
type habit struct {
	name string
	// file is where it is in the directory that varve runs in.
	file string
	args []string
	env  []string
	code int
}

// habits lists them. host is a registry that requires a login.
func habits(dir, host string) []habit {
	at := func(name string) string { return filepath.Join(dir, name) }
	login := []string{"inspect", "docker://" + host + "/x:1", "--insecure", host}
	list := []habit{
		{"lock of a build", "varve.lock", []string{"build", "image.yaml", "-o", "out/x.tar"}, nil, 2},
		{"lock of a build without cache", "varve.lock", []string{"build", "image.yaml", "-o", "out/x.tar", "--no-cache"}, nil, 2},
		{"lock of a build from the cache", "varve.lock", []string{"build", "image.yaml", "-o", "out/x.tar", "--locked"}, nil, 2},
		{"lock of a stream", "varve.lock", []string{"stream", "image.yaml"}, nil, 2},
		{"lock of a plan", "varve.lock", []string{"layers", "image.yaml"}, nil, 2},
		{"lock to write", "varve.lock", []string{"lock", "image.yaml"}, nil, 2},
		{"lock to refresh", "varve.lock", []string{"lock", "--check"}, nil, 2},
		{"lock of flags", "varve.lock", []string{"build", "--name", "x", "--from", "docker://" + host + "/x:1", "-o", "out/x.tar"}, nil, 2},
		{"layer's checksum", "layer/checksum", []string{"build", "built.yaml", "-o", "out/x.tar"}, nil, 2},
		{"layer's description", "layer/layer.json", []string{"build", "built.yaml", "-o", "out/x.tar"}, nil, 2},
		{"layout's marker", "layout/oci-layout", []string{"inspect", "layout"}, nil, 1},
		{"layout's index", "layout/index.json", []string{"inspect", "layout"}, nil, 1},
		{"derivation's attributes", ".attrs.json", []string{"nix-build"}, nil, 2},
		{"derivation's attributes elsewhere", "attrs", []string{"nix-build"}, []string{"NIX_ATTRS_JSON_FILE=" + at("attrs")}, 2},
	}
	for file, env := range map[string]string{
		"auth.json": "REGISTRY_AUTH_FILE=" + at("auth.json"), "run/containers/auth.json": "XDG_RUNTIME_DIR=" + at("run"),
		"config/containers/auth.json": "XDG_CONFIG_HOME=" + at("config"), "home/.config/containers/auth.json": "HOME=" + at("home"),
		"docker/config.json": "DOCKER_CONFIG=" + at("docker"), "home/.docker/config.json": "HOME=" + at("home"),
	} {
		list = append(list, habit{"credentials in " + file, file, login, []string{env}, 1})
	}
	return list
}

// TestFilesByHabit: a file that is looked for by habit and is not a regular file,
// or has no end, is refused at once, in little memory.
func TestFilesByHabit(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", "Basic realm=x")
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	dir := openDir(t, "")
	put(t, filepath.Join(dir, "image.yaml"), "name: x\nfromImage: docker://"+host+"/x:1\n", 0o644)
	put(t, filepath.Join(dir, "built.yaml"), "name: x\nlayers: [{built: layer}]\n", 0o644)
	put(t, filepath.Join(dir, "libs.yaml"), "name: x\nlayers: [{copyToRoot: [image.yaml]}]\n", 0o644)
	mustRun(t, dir, "build", "libs.yaml", "-q", "-o", "layer:layer")
	mustRun(t, dir, "build", "--name", "x", "-q", "-o", "oci:layout:1")
	makeDirs(t, filepath.Join(dir, "out"))
	for _, h := range habits(dir, host) {
		for _, kind := range []string{"device", "FIFO", "directory", "bytes"} {
			t.Run(h.name+"/"+kind, func(t *testing.T) { h.run(t, dir, kind) })
		}
	}
}

// unfit puts something unsuitable at a file's path. The kind is a word of the error.
func unfit(file, kind string) error {
	switch kind {
	case "device":
		return os.Symlink("/dev/zero", file)
	case "FIFO":
		return syscall.Mkfifo(file, 0o644)
	case "directory":
		return os.Mkdir(file, 0o755)
	}
	return errors.Join(os.WriteFile(file, nil, 0o644), os.Truncate(file, 3<<30))
}

func (h habit) run(t *testing.T, dir, kind string) {
	file := filepath.Join(dir, h.file)
	makeDirs(t, filepath.Dir(file))
	if err := os.Rename(file, file+".kept"); err == nil {
		defer func() { must(t, os.Rename(file+".kept", file)) }()
	}
	must(t, unfit(file, kind))
	defer func() { must(t, os.Remove(file)) }()
	cmd := varve(t, dir, h.args...)
	cmd.Env = append(cmd.Env, h.env...)
	o := run(t, cmd)
	want := badInput{code: h.code, message: []string{filepath.Base(h.file), kind}}
	if strings.HasPrefix(h.file, "layout/") && kind != "bytes" {
		want.message[1] = "not a regular file" // in a layout no link is followed
	}
	want.check(t, o)
	if o.peak > 96<<20 {
		t.Errorf("it took %d MiB of memory", o.peak>>20)
	}
	if left := names(filepath.Join(dir, "out")); len(left) > 0 {
		t.Errorf("left in out: %q", left)
	}
}
