package layer

import (
	"crypto/sha256"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"
)

// ringSize is how many buffers go round between reading and hashing.
const ringSize = 3

// digester is an output that hashes in a goroutine of its own, while the
// buffer is written and the next one is filled.
type digester struct {
	w     io.Writer
	hash  hash.Hash
	full  chan []byte
	empty chan []byte
	done  chan struct{}
	made  int // buffers that go round; a small layer needs no second one
}

// newDigester starts hashing what it hands on to w. sum must be called, once,
// to end it.
func newDigester(w io.Writer) *digester {
	d := &digester{
		w:     w,
		hash:  sha256.New(),
		full:  make(chan []byte, ringSize),
		empty: make(chan []byte, ringSize),
		done:  make(chan struct{}),
		made:  1, // the Writer brings it
	}
	go d.run()
	return d
}

func (d *digester) run() {
	defer close(d.done)
	for p := range d.full {
		d.hash.Write(p)
		d.empty <- p[:0]
	}
}

func (d *digester) flush(p []byte) ([]byte, error) {
	d.full <- p
	_, err := d.w.Write(p)
	select {
	case p = <-d.empty:
	default:
		if d.made < ringSize {
			d.made++
			return takeBuffer(), err
		}
		p = <-d.empty
	}
	return p, err
}

// sum ends the hashing.
func (d *digester) sum() digest.Digest {
	close(d.full)
	<-d.done
	for range len(d.empty) {
		giveBuffer(<-d.empty)
	}
	return digest.NewDigest(digest.SHA256, d.hash)
}
