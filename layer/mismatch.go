package layer

import (
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// ErrMismatch is what every DigestError is.
var ErrMismatch = errors.New("digest mismatch")

// DigestError says that something does not have the digest that was promised.
type DigestError struct {
	// What names the thing.
	What string
	// Want is the digest that was promised, Got the one that was found. Got is
	// empty where the size says enough.
	Want, Got digest.Digest
	// WantSize and GotSize are sizes in bytes, for an empty Got.
	WantSize, GotSize int64
}

// Is reports whether target is ErrMismatch.
func (e *DigestError) Is(target error) bool { return target == ErrMismatch }

func (e *DigestError) Error() string {
	if e.Got == "" {
		return fmt.Sprintf("%s: %s has %d bytes, %d are expected", e.What, e.Want, e.GotSize, e.WantSize)
	}
	return fmt.Sprintf("%s: digest is %s, expected %s", e.What, e.Got, e.Want)
}
