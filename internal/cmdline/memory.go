package cmdline

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// frugalLimit is how much memory, in bytes, the program may have before the
// garbage collector is told to work more.
const frugalLimit = 224 << 20

// beFrugal bounds the garbage that stands beside what is in use: without it,
// that is as much again. Where much is in use it is a fifth of that. Who
// says something else in the environment is obeyed.
func (s Streams) beFrugal() {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		if value, _ := s.LookupEnv(name); value != "" {
			return
		}
	}
	debug.SetMemoryLimit(frugalLimit)
	// A finalizer runs after each collection, when it is known what is in use.
	runtime.SetFinalizer(&collection{new(byte)}, (*collection).ended)
}

// collection is garbage whose end tells that a collection has ended.
type collection struct{ *byte }

func (c *collection) ended() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	debug.SetMemoryLimit(max(frugalLimit, int64(live[0].Value.Uint64())/5*6))
	runtime.SetFinalizer(c, (*collection).ended)
}
