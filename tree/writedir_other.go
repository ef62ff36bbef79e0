//go:build !linux

package tree

import "errors"

func makeNode(int, string, *Entry) error { return errors.ErrUnsupported }

// setXattr is not supported: the attributes that an image can carry are Linux's.
func setXattr(int, string, string) error { return errors.ErrUnsupported }
