package compress

import (
	"bufio"
	"bytes"
	"io"
	"runtime"

	"github.com/klauspost/compress/zstd"
)

// The shape of the output. The bytes depend on the windows: changing one changes
// the format.
const (
	// zstdWindow is how far back zstd looks; a worker takes four windows.
	zstdWindow = 1 << 20
	// zstdBestWindow is the window from level zstdBestLevel on, for callers that
	// want the smallest size and accept its cost.
	zstdBestWindow = 4 << 20
	zstdBestLevel  = 10
)

// How many blocks are compressed at once, whatever the machine: this limits memory.
// It does not show in the bytes, except that a single worker would write other
// bytes: two is the minimum.
const (
	minZstdWorkers = 2
	maxZstdWorkers = 4
)

// isZstd recognises frames and the skippable ones that may precede them (RFC 8878,
// 3.1.1 and 3.1.2).
func isZstd(start []byte) bool {
	return bytes.HasPrefix(start, []byte("\x28\xb5\x2f\xfd")) ||
		len(start) >= 4 && start[0]&0xf0 == 0x50 && string(start[1:4]) == "\x2a\x4d\x18"
}

// readZstd decodes in one goroutine, the caller's: closing never waits for a
// reader that stalls.
func readZstd(in *bufio.Reader) (io.ReadCloser, error) {
	z, err := zstd.NewReader(in,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow),
		zstd.WithDecodeBuffersBelow(0))
	if err != nil {
		return nil, err
	}
	return z.IOReadCloser(), nil
}

// zstdWriter writes one frame with a checksum (RFC 8878).
type zstdWriter struct{ *zstd.Encoder }

func writeZstd(w io.Writer, level int) (encoder, error) {
	window := zstdWindow
	if level >= zstdBestLevel {
		window = zstdBestWindow
	}
	z, err := zstd.NewWriter(w,
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
		zstd.WithWindowSize(window),
		zstd.WithConcurrentBlocks(true),
		zstd.WithEncoderConcurrency(min(max(runtime.GOMAXPROCS(0), minZstdWorkers), maxZstdWorkers)),
		zstd.WithEncoderCRC(true),
		zstd.WithZeroFrames(true),
		zstd.WithSingleSegment(false),
		zstd.WithLowerEncoderMem(true))
	return zstdWriter{z}, err
}

// drop waits for the blocks that workers have or that are queued for them. The one that
// is being filled is not one of them.
func (z zstdWriter) drop() { z.Reset(io.Discard) }

func (z zstdWriter) restart(w io.Writer) { z.Reset(w) }
