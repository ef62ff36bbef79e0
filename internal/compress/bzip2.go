package compress

import (
	"bufio"
	"compress/bzip2"
	"io"
)

// isBzip2 checks the first block's magic, too: a tar may begin with a file whose
// name starts with BZh.
func isBzip2(start []byte) bool {
	if len(start) < 10 || string(start[:3]) != "BZh" || start[3] < '1' || start[3] > '9' {
		return false
	}
	block := string(start[4:10])
	return block == "1AY&SY" || block == "\x17rE8P\x90"
}

func readBzip2(in *bufio.Reader) (io.ReadCloser, error) {
	return io.NopCloser(bzip2.NewReader(in)), nil
}
