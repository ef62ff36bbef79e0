package cmdline

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// frugalLimit is how much memory, in bytes, the program may have before the garbage
// collector is made to work more.
const frugalLimit = 224 << 20

// garbage is how much of that may be garbage, in bytes, however little is in use: to collect a few MB
// again and again costs a warm stream a tenth of its time.
const garbage = 16 << 20

// maxPercent is garbage beside the 4 MB that the first collection waits for.
const maxPercent = garbage / (4 << 20) * 100

// beFrugal limits the garbage beside the memory in use: without it, there is as
// much again. If little is in use there is more, and if much is in use the limit is a fifth of that.
// Other settings in the environment take precedence.
func (s Streams) beFrugal() {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		if value, _ := s.LookupEnv(name); value != "" {
			return
		}
	}
	debug.SetMemoryLimit(frugalLimit)
	debug.SetGCPercent(maxPercent)
	// A finalizer runs after each collection, when the memory in use is known.
	runtime.SetFinalizer(&collection{new(byte)}, (*collection).ended)
}

// collection is garbage whose collection shows that a cycle has ended.
type collection struct{ *byte }

func (c *collection) ended() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	used := int64(live[0].Value.Uint64())
	debug.SetMemoryLimit(max(frugalLimit, used/5*6))
	debug.SetGCPercent(int(min(max(100, garbage*100/max(used, 1)), maxPercent)))
	runtime.SetFinalizer(c, (*collection).ended)
}
