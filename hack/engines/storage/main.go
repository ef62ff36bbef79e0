// Storage does what Podman 5 does with images, with the libraries that it is made of, under the
// same names: load, save, image exists, image inspect, image rm and images, over the storage that
// CONTAINERS_STORAGE_CONF names.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/template"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/copy"
	dockerarchive "go.podman.io/image/v5/docker/archive"
	ociarchive "go.podman.io/image/v5/oci/archive"
	"go.podman.io/image/v5/oci/layout"
	"go.podman.io/image/v5/signature"
	istorage "go.podman.io/image/v5/storage"
	"go.podman.io/image/v5/types"
	"go.podman.io/storage"
	"go.podman.io/storage/pkg/reexec"
)

func main() {
	if reexec.Init() {
		return
	}
	err := run(context.Background(), os.Args[1:])
	if errors.Is(err, storage.ErrImageUnknown) {
		os.Exit(1)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(125)
	}
}

func run(ctx context.Context, args []string) error {
	opts, err := storage.DefaultStoreOptions()
	if err != nil {
		return err
	}
	store, err := storage.GetStore(opts)
	if err != nil {
		return err
	}
	defer store.Shutdown(false)
	p := podman{ctx, store}
	if len(args) > 0 && args[0] == "image" {
		args = args[1:]
	}
	if len(args) == 0 {
		return errors.New("which command?")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.Bool("force", false, "")
	flags.Bool("no-trunc", false, "")
	ids := flags.Bool("quiet", false, "")
	flags.BoolVar(ids, "q", false, "")
	format := flags.String("format", "", "")
	input := flags.String("input", "/dev/stdin", "")
	flags.String("signature-policy", "", "")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	names := flags.Args()
	switch args[0] {
	case "info":
		return nil
	case "load":
		return p.load(*input)
	case "images", "ls":
		return p.list(*ids, *format)
	}
	for _, name := range names {
		img, err := p.find(name)
		if err != nil {
			return err
		}
		switch args[0] {
		case "exists":
		case "inspect":
			err = p.inspect(img, *format)
		case "rm":
			err = p.remove(name, img)
		case "save":
			err = p.save(name, img)
		default:
			err = fmt.Errorf("unknown command %q", args[0])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type podman struct {
	context.Context
	store storage.Store
}

// find looks a name up as Podman does: an id, or a name that may lack its registry.
func (p podman) find(name string) (*storage.Image, error) {
	for _, try := range spellings(name) {
		if img, err := p.store.Image(strings.TrimPrefix(try, "sha256:")); err == nil {
			return img, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", name, storage.ErrImageUnknown)
}

// spellings are what a name may mean.
func spellings(name string) []string {
	full := name
	if last := name[strings.LastIndexByte(name, '/')+1:]; !strings.ContainsAny(last, ":@") {
		full += ":latest"
	}
	return []string{name, full, "localhost/" + full, "docker.io/library/" + full, "docker.io/" + full}
}

// remove takes one of several names from an image, or removes it.
func (p podman) remove(name string, img *storage.Image) error {
	for _, try := range spellings(name) {
		if slices.Contains(img.Names, try) && len(img.Names) > 1 {
			return p.store.RemoveNames(img.ID, []string{try})
		}
	}
	_, err := p.store.DeleteImage(img.ID, true)
	return err
}

func (p podman) policy() (*signature.PolicyContext, error) {
	return signature.NewPolicyContext(&signature.Policy{Default: []signature.PolicyRequirement{signature.NewPRInsecureAcceptAnything()}})
}

// load tries the kinds of archives in Podman's order.
func (p podman) load(input string) error {
	if info, err := os.Stat(input); err == nil && info.IsDir() {
		return p.loadLayout(input)
	}
	path, err := spool(input)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	var errs []error
	for _, kind := range []func(string) ([]string, error){p.loadOCI, p.loadDocker} {
		names, err := kind(path)
		if err == nil {
			fmt.Println("Loaded image: " + strings.Join(names, ", "))
			return nil
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("payload does not match any of the supported image formats: %w", errors.Join(errs...))
}

// loadLayout makes a name of a directory's path, as Podman does.
func (p podman) loadLayout(dir string) error {
	src, err := layout.ParseReference(dir)
	if err != nil {
		return err
	}
	names, err := p.copyTo(src, "localhost"+dir)
	if err != nil {
		return err
	}
	fmt.Println("Loaded image: " + strings.Join(names, ", "))
	return nil
}

// spool keeps what can be read once, as Podman does.
func spool(input string) (string, error) {
	in, err := os.Open(input)
	if err != nil {
		return "", err
	}
	defer in.Close()
	f, err := os.CreateTemp("", "storage-")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, in)
	return f.Name(), errors.Join(err, f.Close())
}

func (p podman) loadOCI(path string) ([]string, error) {
	src, err := ociarchive.NewReference(path, "")
	if err != nil {
		return nil, err
	}
	name, err := ociName(path)
	if err != nil {
		return nil, err
	}
	return p.loadAs(src, name)
}

func (p podman) loadDocker(path string) ([]string, error) {
	r, err := dockerarchive.NewReader(nil, path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	lists, err := r.List()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, list := range lists {
		for _, ref := range list {
			name := ""
			if ref.DockerReference() != nil {
				name = ref.DockerReference().String()
			}
			loaded, err := p.loadAs(ref, name)
			if err != nil {
				return nil, err
			}
			names = append(names, loaded...)
		}
	}
	return names, nil
}

func (p podman) loadAs(src types.ImageReference, name string) ([]string, error) {
	if name == "" {
		return p.loadNameless(src)
	}
	return p.copyTo(src, full(name))
}

// loadNameless keeps an image under its id, the digest of its config.
func (p podman) loadNameless(src types.ImageReference) ([]string, error) {
	img, err := src.NewImage(p, nil)
	if err != nil {
		return nil, err
	}
	defer img.Close()
	id := img.ConfigInfo().Digest
	_, err = p.copyTo(src, "@"+id.Encoded())
	return []string{id.String()}, err
}

// full gives a name without a registry Podman's.
func full(name string) string {
	if first, _, ok := strings.Cut(name, "/"); !ok || !strings.ContainsAny(first, ".:") && first != "localhost" {
		return "localhost/" + name
	}
	return name
}

func (p podman) copyTo(src types.ImageReference, name string) ([]string, error) {
	dst, err := istorage.Transport.ParseStoreReference(p.store, name)
	if err != nil {
		return nil, err
	}
	policy, err := p.policy()
	if err != nil {
		return nil, err
	}
	defer policy.Destroy()
	_, err = copy.Image(p, policy, dst, src, nil)
	return []string{name}, err
}

func (p podman) save(name string, img *storage.Image) error {
	src, err := istorage.Transport.ParseStoreReference(p.store, "@"+img.ID)
	if err != nil {
		return err
	}
	dst, err := dockerarchive.ParseReference("/dev/stdout:" + full(name))
	if err != nil {
		return err
	}
	policy, err := p.policy()
	if err != nil {
		return err
	}
	defer policy.Destroy()
	_, err = copy.Image(p, policy, dst, src, nil)
	return err
}

// description is what templates see of an image.
type description struct {
	Id, Digest      string
	Repository, Tag string
	RepoTags, Names []string
	RootFS          struct {
		Type   string
		Layers []digest.Digest
	}
}

func (p podman) describe(img *storage.Image) (d description, err error) {
	d.Id, d.Digest, d.RepoTags, d.Names = img.ID, img.Digest.String(), img.Names, img.Names
	d.RootFS.Type = "layers"
	for id := img.TopLayer; id != ""; {
		l, err := p.store.Layer(id)
		if err != nil {
			return d, err
		}
		d.RootFS.Layers = append(d.RootFS.Layers, l.UncompressedDigest)
		id = l.Parent
	}
	slices.Reverse(d.RootFS.Layers)
	return d, nil
}

func (p podman) inspect(img *storage.Image, format string) error {
	d, err := p.describe(img)
	if err != nil {
		return err
	}
	return show([]description{d}, format)
}

func (p podman) list(ids bool, format string) error {
	images, err := p.store.Images()
	if err != nil {
		return err
	}
	var all []description
	for i := range images {
		d, err := p.describe(&images[i])
		if err != nil {
			return err
		}
		if ids {
			fmt.Println(d.Id)
		}
		all = append(all, d.rows()...)
	}
	if ids {
		return nil
	}
	return show(all, format)
}

// rows are the image by each of its names.
func (d description) rows() []description {
	if len(d.Names) == 0 {
		d.Repository, d.Tag = "<none>", "<none>"
		return []description{d}
	}
	var rows []description
	for _, name := range d.Names {
		colon := max(strings.LastIndexByte(name, ':'), 0)
		d.Repository, d.Tag = name[:colon], strings.TrimPrefix(name[colon:], ":")
		rows = append(rows, d)
	}
	return rows
}

func show(all []description, format string) error {
	if format == "" || format == "json" {
		return json.NewEncoder(os.Stdout).Encode(all)
	}
	t, err := template.New("").Funcs(template.FuncMap{"json": func(v any) (string, error) {
		data, err := json.Marshal(v)
		return string(data), err
	}}).Parse(format)
	if err != nil {
		return err
	}
	for _, d := range all {
		if err := t.Execute(os.Stdout, d); err != nil {
			return err
		}
		fmt.Println()
	}
	return nil
}
