package explain

import (
	"errors"
	"fmt"
	"testing"

	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/place/registry"
	"github.com/varve-image/varve/internal/problems"
)

// TestFlags: a library's refusal is reported with the flag that allows it, right
// after the library's own words.
func TestFlags(t *testing.T) {
	refused := func(reason registry.Distrust) error {
		return fmt.Errorf("read image: %w", &registry.DistrustError{Host: "h:1", Reason: reason, Err: errors.New("refused")})
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{refused(registry.DistrustHTTP), "read image: refused: allow it with --insecure h:1 if nobody can listen in"},
		{refused(registry.DistrustAnswer), "read image: refused: if it is a registry without https that nobody else can listen to, allow it with --insecure h:1"},
		{refused(registry.DistrustCertificate), "read image: refused: name its authority with a file of certificates, or allow any certificate with --insecure h:1"},
		{refused(registry.DistrustAddress), "read image: refused; allow it with --insecure h:1"},
		{refused(registry.DistrustPlainLogin), "read image: refused: have it use https, for which --insecure takes any certificate, or reach it at a loopback address, as through ssh -L"},
		{fmt.Errorf("push: %w", &registry.LoginError{Registry: "r", Err: errors.New("denied")}), `push: denied: log in with "docker login r" or "podman login r", or give --username and --password-stdin`},
		{&assemble.SpecError{Field: "network", Err: assemble.ErrNetwork}, "network: scripts that use the machine's network make other images on other days: --allow-network lets them"},
		{errors.New("another"), "another"},
	} {
		if got := problems.Annotate(tt.err, Flags).Error(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}
