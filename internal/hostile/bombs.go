package hostile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// Bomb returns the gzip of before, n times part, and after. It compresses part only
// once: concatenated gzip files are one file (RFC 1952, 2.2).
func Bomb(before, part []byte, n int, after []byte) []byte {
	return slices.Concat(Gzip(before), bytes.Repeat(Gzip(part), n), Gzip(after))
}

// GzipZeros returns the gzip of a tar with one file of mib MiB, all zeros, in a
// thousandth of that size.
func GzipZeros(mib int) []byte {
	file := Entry{Name: "zeros", Size: int64(mib) << 20}
	return Bomb(Cut(file), make([]byte, 1<<20), mib, make([]byte, 2*block))
}

// ZstdZeros is the same with zstd (RFC 8878, 3.1.1), in a thirty-thousandth: each
// block is given as one byte, many times.
func ZstdZeros(mib int) []byte {
	const blockSize = 128 << 10
	b := bytes.NewBuffer([]byte("\x28\xb5\x2f\xfd\x00\x38")) // a window of 128 KiB
	add := func(kind, size int, content []byte) {
		b.Write(binary.LittleEndian.AppendUint32(nil, uint32(kind<<1|size<<3))[:3])
		b.Write(content)
	}
	const raw, repeated = 0, 1
	header := Cut(Entry{Name: "zeros", Size: int64(mib) << 20})
	add(raw, len(header), header)
	for range mib << 20 / blockSize {
		add(repeated, blockSize, []byte{0})
	}
	b.WriteString("\x01\x00\x00") // an empty block, the last one
	return b.Bytes()
}

// GzipEntries returns the gzip of a tar of n empty files in directories of a
// thousand each, or of as many headers with the same name.
func GzipEntries(n int, distinct bool) []byte {
	thousand := make([]Entry, 1000)
	part := func(dir int) []byte {
		for i := range thousand {
			thousand[i] = File(fmt.Sprintf("%d/%d", dir, i), "")
		}
		return Cut(thousand...)
	}
	end := make([]byte, 2*block)
	if !distinct {
		return Bomb(nil, part(0), n/1000, end)
	}
	var b bytes.Buffer
	for dir := range n / 1000 {
		b.Write(Gzip(part(dir)))
	}
	b.Write(Gzip(end))
	return b.Bytes()
}

// SparseFiles returns a tar of n files without content that claim a size of mib MiB.
func SparseFiles(n, mib int) []byte {
	var files []Entry
	for i := range n {
		files = append(files, Entry{Name: fmt.Sprint(i), PAX: []string{
			"GNU.sparse.major=1", "GNU.sparse.minor=0", fmt.Sprintf("GNU.sparse.name=%d", i), fmt.Sprintf("GNU.sparse.realsize=%d", mib<<20),
		}, Content: "0\n" + string(make([]byte, block-2))})
	}
	return Tar(files...)
}

// SparseRegions returns a tar of one file that is made of n empty regions.
func SparseRegions(n int) []byte {
	var regions bytes.Buffer
	fmt.Fprintln(&regions, n)
	for i := range n {
		fmt.Fprintf(&regions, "%d\n0\n", i)
	}
	regions.Write(make([]byte, (block-regions.Len()%block)%block))
	return Tar(Entry{Name: "f", Content: regions.String(), PAX: []string{
		"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=f", fmt.Sprintf("GNU.sparse.realsize=%d", n),
	}})
}

// Window2GiB returns the beginning of a zstd stream that cannot be read with less
// than 2 GiB of memory.
func Window2GiB() []byte { return []byte("\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00") }
