package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTotal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "counts")
	for _, c := range []counts{{3, 1, 0}, {40, 0, 2}} {
		if err := appendCounts(file, c); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if sum, err := total(strings.NewReader(string(data))); err != nil || sum.String() != "43 passed, 1 failed, 2 skipped" {
		t.Errorf("%v, %v", sum, err)
	}
	if sum, err := total(strings.NewReader("what\n")); err == nil {
		t.Errorf("no error, and %v", sum)
	}
	if err := appendCounts("", counts{}); err != nil {
		t.Error(err)
	}
}
