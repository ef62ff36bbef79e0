//go:build amd64 || arm64

package userns

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/userns/protocol"
)

// TestCause: where the changes are not read to their end, the error says why.
func TestCause(t *testing.T) {
	unread := protocol.Report{Error: "what the step changed is not read to its end", Unread: true}
	full := errors.New("no space left on device")
	limit := &sandbox.LimitError{Name: "x", Limit: sandbox.LimitDisk, Limits: sandbox.Limits{Disk: 1 << 20}}
	cut := errors.New("unexpected EOF")
	c := &conversation{step: &sandbox.Step{Name: "x"}, cfg: &protocol.Config{}, output: &output{}}
	for name, q := range map[string]struct {
		rep  protocol.Report
		err  error
		want string
	}{
		"all is well":                   {protocol.Report{}, nil, ""},
		"no room for the layer":         {unread, full, "step x: no space left on device"},
		"too large a layer":             {unread, limit, "1 MiB of disk"},
		"nobody knows why":              {unread, nil, "not read to its end"},
		"the sandbox failed":            {protocol.Report{Error: "it failed"}, cut, "step x: it failed"},
		"the program failed":            {protocol.Report{ExitCode: 3}, cut, "exit code 3"},
		"it could not be read any more": {protocol.Report{}, cut, "step x: unexpected EOF"},
	} {
		got := c.cause(context.Background(), q.rep, nil, q.err)
		if (got == nil) != (q.want == "") || got != nil && !strings.Contains(got.Error(), q.want) {
			t.Errorf("%s: %v, want %q", name, got, q.want)
		}
	}
}
