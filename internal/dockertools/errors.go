package dockertools

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/spec"
)

// InputError says that what was asked for is impossible, and that another input fixes it.
type InputError struct{ Err error }

func (e *InputError) Error() string { return e.Err.Error() }

func (e *InputError) Unwrap() error { return e.Err }

func inputErrorf(format string, args ...any) error {
	return &InputError{fmt.Errorf(format, args...)}
}

// asInput blames the input for an error; nil stays nil.
func asInput(err error) error {
	if err == nil {
		return nil
	}
	return &InputError{err}
}

// fileError blames the input for an error of opening a file that it names, if the file is
// missing or of the wrong kind.
func fileError(err error) error {
	if regfile.IsMisnamed(err) {
		return asInput(err)
	}
	return err
}

// specError blames a field of a conf.json, or of a spec.
func specError(field string, err error) error {
	return &assemble.SpecError{Field: field, Err: err}
}

// asAttribute names the image and the attribute in an error about a spec that Nix wrote:
// nobody has seen the file, and all of it is one line.
func asAttribute(a *attributes, err error) error {
	var failed *sandbox.StepError
	if errors.As(err, &failed) {
		failed.Offline = false // as in any build by Nix, where nothing can change it
	}
	var wrong spec.Errors
	if !errors.As(err, &wrong) {
		return err
	}
	image := fmt.Sprintf("image %q", imageName(a.Spec))
	told := make(spec.Errors, len(wrong))
	for i, e := range wrong {
		told[i] = &spec.Error{File: image, Message: e.Message}
		if e.Field != "" {
			told[i].Field = "attribute " + e.Field
		}
	}
	return told
}

// imageName returns the name of the image in the spec in a file, or else the file's
// own name.
func imageName(file string) string {
	var s struct{ Name string }
	data, err := regfile.Read(file, spec.MaxSize)
	if err != nil || json.Unmarshal(data, &s) != nil || s.Name == "" {
		return filepath.Base(file)
	}
	return s.Name
}
