//go:build !linux

package atomicfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func unnamed(string) (*os.File, error) { return nil, errors.ErrUnsupported }

func nameIt(*os.File, string) error { return errors.ErrUnsupported }

// syncAll makes all that is on disks durable.
func syncAll(*os.File) error { return unix.Sync() }
