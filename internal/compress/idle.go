package compress

import (
	"cmp"
	"io"
	"runtime"
	"sync"
)

// idle has the encoders that no stream uses now, as *sync.Pool by encoderKey. What an encoder
// works with, some megabytes, takes longer to make than a short stream takes to be compressed, and
// archives and images have many of those.
var idle sync.Map

// encoderKey says which encoders are alike.
type encoderKey struct {
	algorithm    Algorithm
	level, procs int
}

// restarter is an encoder that can begin another stream once it was closed without an error. It
// writes the bytes that a new one would.
type restarter interface {
	encoder
	restart(w io.Writer)
}

const (
	// maxWorn is how much an encoder compresses before another one is made: the encoders count
	// their input in 32 bits.
	maxWorn = 512 << 20
	// wornByStream is what a stream of any size counts for. The encoders keep streams that far
	// apart.
	wornByStream = 2 << 20
)

// kept is an encoder that may be used for several streams.
type kept struct {
	restarter
	key  encoderKey
	worn int
}

// takeEncoder returns an encoder to w.
func takeEncoder(c Compression, w io.Writer) (encoder, error) {
	f, _ := c.algorithm().format()
	level := cmp.Or(c.Level, f.level)
	key := encoderKey{f.algorithm, level, runtime.GOMAXPROCS(0)}
	if pool, ok := idle.Load(key); ok {
		if k, ok := pool.(*sync.Pool).Get().(*kept); ok {
			k.restart(w)
			return k, nil
		}
	}
	enc, err := f.write(w, level)
	if r, ok := enc.(restarter); ok && err == nil {
		enc = &kept{restarter: r, key: key}
	}
	return enc, err
}

func (k *kept) Write(p []byte) (int, error) {
	k.worn += len(p)
	return k.restarter.Write(p)
}

// Close ends the stream and gives the encoder back, if all went well.
func (k *kept) Close() error {
	if err := k.restarter.Close(); err != nil {
		return err
	}
	if k.worn += wornByStream; k.worn > maxWorn {
		return nil
	}
	k.restart(io.Discard) // what it was writing to is not kept with it
	pool, _ := idle.LoadOrStore(k.key, &sync.Pool{})
	pool.(*sync.Pool).Put(k)
	return nil
}
