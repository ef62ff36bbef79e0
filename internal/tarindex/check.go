package tarindex

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/varve-image/varve/internal/ctxio"
)

// blockSize is the unit of a tar (POSIX pax, "ustar Interchange Format").
const blockSize = 512

// headers is the reader that archive/tar reads an archive from. It notices whether
// the archive has an end, which archive/tar does not require: a tar that was cut
// between two members looks to it like a shorter one.
type headers struct {
	*os.File
	// zeros counts the blocks of zeros that were read last.
	zeros int
}

func (h *headers) Read(p []byte) (int, error) {
	n, err := h.File.Read(p)
	if n == blockSize && allZero(p[:n]) {
		h.zeros++
	} else {
		h.zeros = 0
	}
	return n, err
}

// checkEnd is called when archive/tar has met the end. Only zeros may follow:
// anything else would be part of the file, and of its hash, but not of the archive.
func (h *headers) checkEnd(ctx context.Context) error {
	if at, err := h.Seek(0, io.SeekCurrent); err == nil && at == 0 {
		return errors.New("the archive is empty")
	}
	if h.zeros < 2 {
		return errors.New("the archive is cut short: the two blocks of zeros at its end are missing")
	}
	rest := ctxio.Reader(ctx, h.File)
	buf := make([]byte, 64<<10)
	for {
		n, err := rest.Read(buf)
		switch {
		case !allZero(buf[:n]):
			return errors.New("more follows after the archive's end")
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("after the archive's end: %w", err)
		}
	}
}

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}
