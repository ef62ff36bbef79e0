package goldenstore

import (
	"bytes"
	"fmt"
)

const (
	blockSize  = 512
	recordSize = 20 * blockSize
)

// topTar returns the top layer's tar, byte for byte as GNU tar wrote it with
// --sort=name --numeric-owner --owner=0 --group=0 --mtime=@1 --format=gnu.
// It is written here by hand: the program under test must not make its own
// expectations, and a test that only reads the store must not need GNU tar.
func topTar(app string) []byte {
	var b bytes.Buffer
	for _, e := range []struct {
		name     string
		mode     int
		typeflag byte
		link     string
		data     string
	}{
		{"./", 0o755, '5', "", ""},
		{"./bin/", 0o755, '5', "", ""},
		{"./bin/app", 0o777, '2', app, ""},
		{"./etc/", 0o755, '5', "", ""},
		{"./etc/motd", 0o444, '0', "", "golden\n"},
		{"./tmp/", 0o1777, '5', "", ""},
	} {
		b.Write(tarHeader(e.name, e.mode, e.typeflag, e.link, len(e.data)))
		b.WriteString(e.data)
		b.Write(make([]byte, -len(e.data)&(blockSize-1)))
	}
	b.Write(make([]byte, 2*blockSize))
	b.Write(make([]byte, (recordSize-b.Len()%recordSize)%recordSize))
	return b.Bytes()
}

// tarHeader returns a header block in GNU tar's "gnu" format: owner 0:0 without
// names, time 1, no device numbers.
func tarHeader(name string, mode int, typeflag byte, link string, size int) []byte {
	h := make([]byte, blockSize)
	copy(h, name)
	copy(h[100:], fmt.Sprintf("%07o", mode))
	copy(h[108:], "0000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o", size))
	copy(h[136:], "00000000001")
	copy(h[148:], "        ")
	h[156] = typeflag
	copy(h[157:], link)
	copy(h[257:], "ustar  \x00")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}
