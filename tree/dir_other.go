//go:build !linux

package tree

import (
	"errors"

	"golang.org/x/sys/unix"
)

const openPath = unix.O_RDONLY

func changeTime(st *unix.Stat_t) int64 { return st.Ctim.Nano() }

func openBeneath(int, string, int) (int, error) { return -1, errors.ErrUnsupported }

// readXattrs finds nothing: the attributes that an image can carry are
// Linux's.
func readXattrs(int, string, []byte) (map[string]string, error) { return nil, nil }

func closeRange(int, int) error { return errors.ErrUnsupported }
