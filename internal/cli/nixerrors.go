package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/spec"
)

// nixError has what is wrong with a spec that Nix wrote tell the image and the
// attribute: nobody has seen the file, and all of it is one line.
func nixError(a *nixAttrs, err error) error {
	var failed *sandbox.StepError
	if errors.As(err, &failed) {
		failed.Offline = false // as in any build of Nix's, which nothing can change
	}
	var wrong spec.Errors
	if !errors.As(err, &wrong) {
		return err
	}
	image := fmt.Sprintf("image %q", nixName(a.Spec))
	told := make(spec.Errors, len(wrong))
	for i, e := range wrong {
		told[i] = &spec.Error{File: image, Message: e.Message}
		if e.Field != "" {
			told[i].Field = "attribute " + e.Field
		}
	}
	return told
}

// nixName is what the spec in a file says that the image is called, or else the
// file's own name.
func nixName(file string) string {
	var s struct{ Name string }
	data, err := regfile.Read(file, spec.MaxSize)
	if err != nil || json.Unmarshal(data, &s) != nil || s.Name == "" {
		return filepath.Base(file)
	}
	return s.Name
}
