package compress

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// The container of .xz is read here, its data by the module: the module's own reader takes
// dictionaries of 4 GiB and keeps a record of each block. ("The .xz File Format", 1.2.1.)
const (
	xzMagic       = "\xfd7zXZ\x00"
	xzFooterMagic = "YZ"
	xzLZMA2       = 0x21 // the filter's number
)

// xzReader reads the streams of a file.
type xzReader struct {
	in    *xzInput
	block *xzBlock
	// check makes the hash of a block, as the stream's flags say.
	flags [2]byte
	check func() hash.Hash
	index xzIndex
	err   error
}

// xzInput counts what is read.
type xzInput struct {
	*bufio.Reader
	n int64
}

func (r *xzInput) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n += int64(n)
	return n, err
}

func (r *xzInput) ReadByte() (byte, error) {
	b, err := r.Reader.ReadByte()
	if err == nil {
		r.n++
	}
	return b, err
}

// xzBlock is the current block. Sizes are in bytes; those that a header may state
// are -1 if it does not.
type xzBlock struct {
	data                     *lzma.Reader2
	sum                      hash.Hash
	start, header            int64 // where its data starts, and the length of its header
	size                     int64 // length of the unpacked data so far
	wantPacked, wantUnpacked int64
}

// xzIndex collects what the index has to say about the blocks: their number and a
// hash of their sizes.
type xzIndex struct {
	blocks uint64
	sizes  hash.Hash
}

func (x *xzIndex) add(unpadded, unpacked uint64) {
	x.blocks++
	var record [16]byte
	binary.LittleEndian.PutUint64(record[:], unpadded)
	binary.LittleEndian.PutUint64(record[8:], unpacked)
	x.sizes.Write(record[:])
}

func readXz(in *bufio.Reader) (io.ReadCloser, error) {
	x := &xzReader{in: &xzInput{Reader: in}}
	return io.NopCloser(x), x.stream()
}

func (x *xzReader) Read(p []byte) (int, error) {
	for x.err == nil {
		if x.block == nil {
			x.err = x.next()
			continue
		}
		n, err := x.block.read(p)
		if err == io.EOF {
			err = x.endBlock()
		}
		x.err = noEOF(err)
		if n > 0 {
			return n, nil
		}
	}
	return 0, x.err
}

// stream reads a stream's header.
func (x *xzReader) stream() error {
	var h [12]byte
	if _, err := io.ReadFull(x.in, h[:]); err != nil {
		return noEOF(err)
	}
	if string(h[:6]) != xzMagic {
		return errors.New("something else follows after its end")
	}
	copy(x.flags[:], h[6:8])
	if crc32.ChecksumIEEE(x.flags[:]) != binary.LittleEndian.Uint32(h[8:]) {
		return errors.New("the header is damaged")
	}
	x.index = xzIndex{sizes: sha256.New()}
	switch check := x.flags[1]; {
	case x.flags[0] == 0 && check == 0:
		x.check = func() hash.Hash { return nil }
	case x.flags[0] == 0 && check == 1:
		x.check = func() hash.Hash { return crc32.NewIEEE() }
	case x.flags[0] == 0 && check == 4:
		x.check = func() hash.Hash { return crc64.New(crc64.MakeTable(crc64.ECMA)) }
	case x.flags[0] == 0 && check == 10:
		x.check = sha256.New
	default:
		return fmt.Errorf("the check %x is not known: decompress it first (xz -d)", x.flags)
	}
	return nil
}

// next goes to the next block, of another stream if this one has none left. It
// returns io.EOF at the end of all.
func (x *xzReader) next() error {
	start := x.in.n
	size, err := x.in.ReadByte()
	if err != nil {
		return noEOF(err)
	}
	if size != 0 {
		return x.startBlock(size)
	}
	if err := x.endStream(start); err != nil {
		return noEOF(err)
	}
	for {
		rest, err := x.in.Peek(4)
		switch {
		case len(rest) == 0 && err == io.EOF:
			return io.EOF
		case err != nil:
			return noEOF(err)
		case !bytes.Equal(rest, make([]byte, 4)):
			return x.stream()
		}
		if _, err := x.in.Discard(4); err != nil {
			return err
		}
	}
}

// startBlock reads the header of a block, whose first byte was size.
func (x *xzReader) startBlock(size byte) error {
	header := make([]byte, 4*(int(size)+1))
	header[0] = size
	if _, err := io.ReadFull(x.in, header[1:]); err != nil {
		return noEOF(err)
	}
	fields, sum := header[:len(header)-4], header[len(header)-4:]
	if crc32.ChecksumIEEE(fields) != binary.LittleEndian.Uint32(sum) {
		return errors.New("a block's header is damaged")
	}
	b := &xzBlock{sum: x.check(), header: int64(len(header)), start: x.in.n}
	dictionary, err := b.parse(fields[1], bytes.NewReader(fields[2:]))
	if err != nil {
		return err
	}
	if b.data, err = (lzma.Reader2Config{DictCap: dictionary}).NewReader2(x.in); err != nil {
		return err
	}
	x.block = b
	return nil
}

// parse reads the fields of a block's header and returns the size of the dictionary
// that its data needs.
func (b *xzBlock) parse(flags byte, r *bytes.Reader) (dictionary int, err error) {
	b.wantPacked, b.wantUnpacked = -1, -1
	for _, f := range []struct {
		given bool
		to    *int64
	}{{flags&0x40 != 0, &b.wantPacked}, {flags&0x80 != 0, &b.wantUnpacked}} {
		if !f.given {
			continue
		}
		n, err := xzNumber(r)
		if err != nil {
			return 0, err
		}
		*f.to = int64(n)
	}
	filter, err := xzNumber(r)
	if err != nil {
		return 0, err
	}
	if flags&0x3f != 0 || filter != xzLZMA2 {
		return 0, errors.New("it uses filters besides LZMA2, which are not read here: decompress it first (xz -d)")
	}
	properties := make([]byte, 2) // their length and the dictionary's size
	if _, err := io.ReadFull(r, properties); err != nil || properties[0] != 1 || properties[1] > 40 {
		return 0, errors.New("a block's header makes no sense")
	}
	size, err := lzma.DecodeDictCap(properties[1])
	if err != nil {
		return 0, err
	}
	if size > maxWindow {
		return 0, fmt.Errorf("its dictionary has %d bytes, more than %d: decompress it first (xz -d)", size, maxWindow)
	}
	if b.wantUnpacked >= 0 { // a larger dictionary is never used
		size = min(size, max(b.wantUnpacked, lzma.MinDictCap))
	}
	return int(size), nil
}

// xzNumber reads a number of seven bits a byte, which is less than 2^63.
func xzNumber(r io.ByteReader) (uint64, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil || n >= 1<<63 {
		return 0, errors.New("a number in it makes no sense")
	}
	return n, nil
}

// read reads the block's data. It returns io.EOF at its end.
func (b *xzBlock) read(p []byte) (int, error) {
	n, err := b.data.Read(p)
	if b.sum != nil {
		b.sum.Write(p[:n])
	}
	if b.size += int64(n); b.wantUnpacked >= 0 && b.size > b.wantUnpacked {
		return n, errors.New("a block has more data than its header says")
	}
	return n, err
}

// endBlock compares what was read with what the header and the check say.
func (x *xzReader) endBlock() error {
	b := x.block
	x.block = nil
	packed := x.in.n - b.start
	if b.wantPacked >= 0 && packed != b.wantPacked || b.wantUnpacked >= 0 && b.size != b.wantUnpacked {
		return errors.New("a block has another size than its header says")
	}
	if err := x.padding(packed); err != nil {
		return err
	}
	unpadded := b.header + packed
	if b.sum != nil {
		// The CRCs are stored with the lowest byte first, SHA-256 as it is.
		want := b.sum.Sum(nil)
		if b.sum.Size() < sha256.Size {
			reverse(want)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(x.in, got); err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return errors.New("a block's check does not match its data")
		}
		unpadded += int64(len(want))
	}
	x.index.add(uint64(unpadded), uint64(b.size))
	return nil
}

func reverse(p []byte) {
	for i, j := 0, len(p)-1; i < j; i, j = i+1, j-1 {
		p[i], p[j] = p[j], p[i]
	}
}

// padding reads the zeros that pad n bytes to a multiple of four.
func (x *xzReader) padding(n int64) error {
	pad := make([]byte, (4-n%4)%4)
	if _, err := io.ReadFull(x.in, pad); err != nil {
		return err
	}
	if len(bytes.Trim(pad, "\x00")) > 0 {
		return errors.New("its padding is not of zeros")
	}
	return nil
}

// endStream reads a stream's index, whose first byte was read already, and its footer.
func (x *xzReader) endStream(start int64) error {
	sum := crc32.NewIEEE()
	sum.Write([]byte{0})
	in := &summed{x.in, sum}
	n, err := xzNumber(in)
	if err != nil {
		return err
	}
	got := xzIndex{sizes: sha256.New()}
	for range min(n, x.index.blocks) {
		unpadded, err := xzNumber(in)
		if err != nil {
			return err
		}
		unpacked, err := xzNumber(in)
		if err != nil {
			return err
		}
		got.add(unpadded, unpacked)
	}
	if n != x.index.blocks || !bytes.Equal(got.sizes.Sum(nil), x.index.sizes.Sum(nil)) {
		return errors.New("its index does not match its blocks")
	}
	for (x.in.n-start)%4 != 0 {
		if b, err := in.ReadByte(); err != nil || b != 0 {
			return errors.New("its padding is not of zeros")
		}
	}
	length := x.in.n - start + 4 // with its checksum
	var rest [4 + 12]byte
	if _, err := io.ReadFull(x.in, rest[:]); err != nil {
		return err
	}
	footer := rest[4:]
	switch word := binary.LittleEndian.Uint32; {
	case word(rest[:]) != sum.Sum32(), word(footer) != crc32.ChecksumIEEE(footer[4:10]),
		4*(int64(word(footer[4:]))+1) != length, !bytes.Equal(footer[8:10], x.flags[:]), string(footer[10:]) != xzFooterMagic:
		return errors.New("its end is damaged")
	}
	return nil
}

// summed hashes the bytes that it reads.
type summed struct {
	io.ByteReader
	sum hash.Hash32
}

func (s *summed) ReadByte() (byte, error) {
	b, err := s.ByteReader.ReadByte()
	if err == nil {
		s.sum.Write([]byte{b})
	}
	return b, err
}
