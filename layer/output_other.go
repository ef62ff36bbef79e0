//go:build !linux

package layer

import "os"

func newFileOutput(f *os.File) output { return writerOutput{f} }
