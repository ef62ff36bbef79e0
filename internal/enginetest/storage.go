package enginetest

import (
	"context"
	"errors"
)

// ErrRunsNothing is the error of Run of an engine that keeps images and has no containers.
var ErrRunsNothing = errors.New("it keeps images and runs none")

// storage is what a current Podman is made of, without its containers: hack/engines/storage, which
// has Podman's commands for images.
type storage struct{ podman }

func startStorage(h *home) (Engine, func(), error) {
	if err := need("storage"); err != nil {
		return nil, nil, err
	}
	dir, err := h.sub("podman")
	if err != nil {
		return nil, nil, err
	}
	s := &storage{podman{home: h, prefix: append(namespaces(), "storage")}}
	if err := s.configure(dir); err != nil {
		return nil, nil, err
	}
	if _, err := check(context.Background(), s, "info"); err != nil {
		return nil, nil, err
	}
	return s, nil, nil
}

func (s *storage) Run(context.Context, string, ...string) (Result, error) {
	return Result{}, ErrRunsNothing
}
