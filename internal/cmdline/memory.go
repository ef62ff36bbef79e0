package cmdline

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// frugalLimit is how much memory, in bytes, the program may have before the garbage
// collector is made to work more.
const frugalLimit = 224 << 20

// beFrugal limits the garbage beside the memory in use: without it, there is as
// much again. If much is in use, the limit is a fifth of that. Other settings in
// the environment take precedence.
func (s Streams) beFrugal() {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		if value, _ := s.LookupEnv(name); value != "" {
			return
		}
	}
	debug.SetMemoryLimit(frugalLimit)
	// A finalizer runs after each collection, when the memory in use is known.
	runtime.SetFinalizer(&collection{new(byte)}, (*collection).ended)
}

// collection is garbage whose collection shows that a cycle has ended.
type collection struct{ *byte }

func (c *collection) ended() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	debug.SetMemoryLimit(max(frugalLimit, int64(live[0].Value.Uint64())/5*6))
	runtime.SetFinalizer(c, (*collection).ended)
}
