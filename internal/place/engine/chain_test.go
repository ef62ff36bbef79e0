package engine

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// TestChainOf: of what an engine says of an image, only so many digests are kept.
func TestChainOf(t *testing.T) {
	good := digest.FromString("layer")
	say := func(layers ...digest.Digest) []byte {
		data, err := json.Marshal(map[string]any{"RootFS": map[string]any{"Layers": layers}})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	many := make([]digest.Digest, 5000)
	for i := range many {
		many[i] = good
	}
	for name, c := range map[string]struct {
		data []byte
		want int
	}{
		"none": {say(), 0}, "two": {say(good, good), 2}, "not JSON": {[]byte("<html>"), 0}, "other JSON": {[]byte(`{"RootFS":7}`), 0},
		"a long text": {say(good, digest.Digest(strings.Repeat("a", 1<<20)), good), 1}, "many": {say(many...), maxChain},
	} {
		if got := chainOf(c.data); len(got) != c.want {
			t.Errorf("%s: %d digests, want %d", name, len(got), c.want)
		}
	}
}
