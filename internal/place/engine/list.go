package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// lister is an Engine that can list its images.
type lister interface {
	names(ctx context.Context) ([]string, error)
}

// List returns the names of an engine's images, as its own commands show them. It returns none
// if the engine cannot be asked.
func List(ctx context.Context, e Engine) ([]string, error) {
	l, ok := e.(lister)
	if !ok {
		return nil, nil
	}
	names, err := l.names(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the images of %s: %w", e, err)
	}
	return names, nil
}

// names lists all images (API: ImageList).
func (a *api) names(ctx context.Context) ([]string, error) {
	ctx, cancel := question(ctx)
	defer cancel()
	resp, err := a.do(ctx, http.MethodGet, "/images/json", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var images []struct{ RepoTags []string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxInspect)).Decode(&images); err != nil {
		return nil, fmt.Errorf("read what it says of its images: %w", ended(ctx, err))
	}
	var names []string
	for _, img := range images {
		names = append(names, named(img.RepoTags)...)
	}
	return names, nil
}

func (podman) names(ctx context.Context) ([]string, error) {
	text, err := output(ctx, maxInspect, "podman", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}")
	return named(strings.Fields(string(text))), err
}

func (c *containerd) names(ctx context.Context) ([]string, error) {
	if err := c.reach(ctx); err != nil {
		return nil, err
	}
	text, err := output(ctx, maxInspect, "ctr", c.args("images", "ls", "--quiet")...)
	return named(strings.Fields(string(text))), err
}

// named returns the names that an image can be asked for by: engines also list images that have
// none.
func named(all []string) []string {
	var names []string
	for _, name := range all {
		if checkName(name) == nil {
			names = append(names, name)
		}
	}
	return names
}
