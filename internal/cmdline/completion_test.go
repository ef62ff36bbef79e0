package cmdline

import (
	"context"
	"testing"
	"time"
)

// TestCompletionTime: a search that cannot be interrupted is abandoned.
func TestCompletionTime(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	start := time.Now()
	found, _ := InTime(t.Context(), func(context.Context) []string { <-stop; return []string{"late"} })
	if took := time.Since(start); len(found) > 0 || took > 2*CompletionTime {
		t.Errorf("%q after %v", found, took)
	}
}
