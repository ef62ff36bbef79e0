package cmdline

import (
	"errors"
	"strings"
	"testing"
)

func TestClaim(t *testing.T) {
	var c Claim
	if err := c.Take("a spec"); err != nil {
		t.Fatal(err)
	}
	err := c.Take("a password")
	if err == nil || !strings.Contains(err.Error(), "is a spec already and cannot be a password too") || !errors.As(err, new(*UsageError)) {
		t.Errorf("got the error %v", err)
	}
}
