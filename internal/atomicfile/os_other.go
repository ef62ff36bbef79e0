//go:build !linux

package atomicfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func unnamed(*os.Root) (*os.File, error) { return nil, errors.ErrUnsupported }

func unnamedIn(string) (*os.File, error) { return nil, errors.ErrUnsupported }

func link(_, _ *os.File, _ string) error { return errors.ErrUnsupported }

// syncAll makes everything on disks durable.
func syncAll(*os.File) error { return unix.Sync() }
