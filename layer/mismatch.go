package layer

import (
	"fmt"

	"github.com/opencontainers/go-digest"
)

// DigestError says that something is not what its digest promised.
type DigestError struct {
	// What names the thing.
	What string
	// Want is the digest that was promised, Got the one that was found.
	Want, Got digest.Digest
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("%s: digest is %s, expected %s", e.What, e.Got, e.Want)
}
