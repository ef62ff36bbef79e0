//go:build !linux

package layer

import (
	"io"
	"os"
)

func newFileOutput(w io.Writer, _ *os.File, _ func(int64)) output { return writerOutput{w} }
