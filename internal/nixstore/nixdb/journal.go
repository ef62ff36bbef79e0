package nixdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/varve-image/varve/internal/nixstore/nixstate"
)

// sqliteMagic is the beginning of every database file.
const sqliteMagic = "SQLite format 3\x00"

const (
	journalHeader = 32
	frameHeader   = 24
)

// withJournal returns the database's file with what was committed to its
// write-ahead log. A log with a wrong header, and whatever follows the last valid
// frame, is left from a crash and ignored.
//
// Source: sqlite.org/fileformat2.html, "The Write-Ahead Log".
func withJournal(data, journal []byte) ([]byte, error) {
	size, err := pageSizeOf(data)
	if err != nil {
		return nil, err
	}
	j := &journalReader{data: journal, pageSize: size}
	if !j.open() {
		return data, nil
	}
	pages := map[uint32][]byte{} // pages of a transaction that is not committed yet
	for j.next() {
		pages[j.page] = j.content
		if j.commit == 0 {
			continue
		}
		end := int(j.commit) * size
		if end > nixstate.MaxFile {
			return nil, fmt.Errorf("it has %d pages after what its journal says, more than %d MiB", j.commit, nixstate.MaxFile>>20)
		}
		if end > len(data) {
			data = append(data, make([]byte, end-len(data))...)
		}
		data = data[:end]
		for page, content := range pages {
			if at := (int(page) - 1) * size; at+size <= end {
				copy(data[at:], content)
			}
		}
		clear(pages)
	}
	return data, nil
}

// pageSizeOf reads the size of pages from a database's header.
func pageSizeOf(data []byte) (int, error) {
	if len(data) < 512 || !bytes.HasPrefix(data, []byte(sqliteMagic)) {
		return 0, errors.New("it is not an SQLite database")
	}
	size := int(binary.BigEndian.Uint16(data[16:]))
	if size == 1 {
		size = 1 << 16
	}
	if size < 512 || size&(size-1) != 0 {
		return 0, fmt.Errorf("its pages have %d bytes, which is not a valid page size", size)
	}
	return size, nil
}

// journalReader reads the frames of a write-ahead log.
type journalReader struct {
	data     []byte
	pageSize int
	order    binary.ByteOrder
	salts    []byte
	sum      [2]uint32

	// The frame: its page's number and content, and if it ends a transaction, the
	// number of pages that the database then has.
	page, commit uint32
	content      []byte
}

// open reads the header and reports whether it is valid.
func (j *journalReader) open() bool {
	if len(j.data) < journalHeader {
		return false
	}
	head := j.data[:journalHeader]
	switch binary.BigEndian.Uint32(head) {
	case 0x377f0682:
		j.order = binary.LittleEndian
	case 0x377f0683:
		j.order = binary.BigEndian
	default:
		return false
	}
	j.data, j.salts = j.data[journalHeader:], head[16:24]
	j.add(head[:24])
	return int(binary.BigEndian.Uint32(head[8:])) == j.pageSize && j.sumIs(head[24:])
}

// next reads a frame and reports whether there was a valid one.
func (j *journalReader) next() bool {
	if len(j.data) < frameHeader+j.pageSize {
		return false
	}
	head := j.data[:frameHeader]
	j.content = j.data[frameHeader : frameHeader+j.pageSize]
	j.data = j.data[frameHeader+j.pageSize:]
	j.page, j.commit = binary.BigEndian.Uint32(head), binary.BigEndian.Uint32(head[4:])
	j.add(head[:8])
	j.add(j.content)
	return j.page > 0 && bytes.Equal(head[8:16], j.salts) && j.sumIs(head[16:])
}

// add adds b to the checksum.
func (j *journalReader) add(b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		j.sum[0] += j.order.Uint32(b) + j.sum[1]
		j.sum[1] += j.order.Uint32(b[4:]) + j.sum[0]
	}
}

func (j *journalReader) sumIs(b []byte) bool {
	return binary.BigEndian.Uint32(b) == j.sum[0] && binary.BigEndian.Uint32(b[4:]) == j.sum[1]
}
