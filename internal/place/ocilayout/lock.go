package ocilayout

import (
	"context"
	"fmt"
	"os"

	"github.com/varve-image/varve/internal/flock"
)

// lockName is the file that a writer of a layout locks. Users who may only read the layout
// cannot open it.
const lockName = ".varve.lock"

// takeLock takes the lock of the layout at root as soon as nobody else has it.
func takeLock(ctx context.Context, root *os.Root) (*flock.Lock, error) {
	return flock.Take(ctx, root, lockName, flock.Exclusive, fmt.Sprintf("another process writes to the OCI layout %q", root.Name()))
}
