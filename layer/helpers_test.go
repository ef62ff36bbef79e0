package layer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"math/rand"
	"testing"

	"github.com/varve-image/varve/layer"
)

// writeLayer returns the layer's tar and checks it against its Info.
func writeLayer(t testing.TB, l *layer.Layer) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := l.Write(context.Background(), &out); err != nil {
		t.Fatal(err)
	}
	info, err := l.Info(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if got := "sha256:" + sha(out.Bytes()); got != info.DiffID.String() || int64(out.Len()) != info.Size {
		t.Errorf("the layer has %d bytes, %s, its Info says %d, %s", out.Len(), got, info.Size, info.DiffID)
	}
	return out.Bytes()
}

// wantSize checks the size that a layer says that its tar has.
func wantSize(t testing.TB, l *layer.Layer, want int) {
	t.Helper()
	if size, err := l.Size(context.Background()); err != nil || size != int64(want) {
		t.Errorf("the layer's size is %d, %v, want %d", size, err, want)
	}
}

// noise returns n bytes that are the same each time.
func noise(n int) []byte {
	data := make([]byte, n)
	rand.New(rand.NewSource(1)).Read(data)
	return data
}

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
