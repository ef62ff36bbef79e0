package layer

import (
	"sync"

	"github.com/varve-image/varve/tree"
)

// buffers holds the buffers that no layer uses now: an image has many layers,
// and memory that is made anew for each of them keeps the garbage collector
// busy.
var buffers sync.Pool

// contents holds those of batches: see batch.
var contents = sync.Pool{New: func() any { p := make([]byte, 0, batchBytes+tree.SmallFile); return &p }}

// takeBuffer returns an empty buffer.
func takeBuffer() []byte {
	if p, ok := buffers.Get().(*[]byte); ok {
		return (*p)[:0]
	}
	return make([]byte, 0, bufferSize)
}

// giveBuffer takes a buffer that nobody uses any more. One that a long name has
// made larger is left to the garbage collector.
func giveBuffer(p []byte) {
	if cap(p) == bufferSize {
		buffers.Put(&p)
	}
}
