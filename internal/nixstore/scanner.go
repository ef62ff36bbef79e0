package nixstore

import (
	"encoding/binary"
	"slices"
)

const (
	// filterBits is how many bits of a window's end choose a bit of the filter:
	// 2^20 bits are 128 KiB, which stay in a core's cache.
	filterBits = 20
	// filterFactor spreads eight bytes over 64 bits: 2^64 divided by the golden
	// ratio.
	filterFactor = 0x9e3779b97f4a7c15
)

// Scanner finds the hash parts of store paths in streams of bytes, as Nix finds
// references. It is an io.Writer that takes a stream in pieces of any size and
// never fails; a hit across two pieces is found. It is not safe for concurrent use.
type Scanner struct {
	table *hashTable
	// seen records, by index in table.hashes, what was found; found lists it.
	seen  []bool
	found []int
	// tail holds the last bytes of the stream, at most one less than a window.
	tail    [hashLen - 1]byte
	tailLen int
}

// NewScanner returns a Scanner that looks for hashes, each 32 digits of Nix's base
// 32; anything else is never found.
func NewScanner(hashes []string) *Scanner {
	return newTableScanner(newHashTable(hashes))
}

func newTableScanner(table *hashTable) *Scanner {
	return &Scanner{table: table, seen: make([]bool, len(table.hashes))}
}

// Write scans more of the stream. It returns len(p) and no error.
func (s *Scanner) Write(p []byte) (int, error) {
	s.look(p)
	return len(p), nil
}

// look is Write for callers that know that it cannot fail.
func (s *Scanner) look(p []byte) {
	if s.tailLen > 0 {
		// Every window that the tail and p share lies in these bytes.
		var joint [2 * (hashLen - 1)]byte
		n := copy(joint[:], s.tail[:s.tailLen])
		n += copy(joint[n:], p[:min(len(p), hashLen-1)])
		s.scan(joint[:n])
	}
	s.scan(p)
	s.keepTail(p)
}

// Next ends the stream: what is written from now on does not continue what was
// written before. What was found stays found.
func (s *Scanner) Next() { s.tailLen = 0 }

// Reset ends the stream and forgets what was found.
func (s *Scanner) Reset() {
	s.Next()
	for _, i := range s.found {
		s.seen[i] = false
	}
	s.found = s.found[:0]
}

// Found returns the hashes found since the start or the last Reset, sorted,
// each once.
func (s *Scanner) Found() []string {
	hashes := make([]string, len(s.found))
	for i, n := range s.found {
		hashes[i] = s.table.hashes[n]
	}
	slices.Sort(hashes)
	return hashes
}

func (s *Scanner) keepTail(p []byte) {
	if len(p) >= len(s.tail) {
		s.tailLen = copy(s.tail[:], p[len(p)-len(s.tail):])
		return
	}
	drop := max(0, s.tailLen+len(p)-len(s.tail))
	s.tailLen = copy(s.tail[:], s.tail[drop:s.tailLen])
	s.tailLen += copy(s.tail[s.tailLen:], p)
}

// scan looks at each window of p that could be a hash. A window is read from its
// end: a byte there that is not a digit rules out every window that holds it, so of
// binary data about one byte in 32 is looked at, and no byte twice.
func (s *Scanner) scan(p []byte) {
	// The first digits bytes of the window at start are known to be digits.
	for start, digits := 0, 0; start+hashLen <= len(p); {
		window := p[start : start+hashLen]
		last := hashLen - 1
		for last >= digits && digitValue[window[last]] != notDigit {
			last--
		}
		if last >= digits {
			start, digits = start+last+1, hashLen-1-last
			continue
		}
		if i, ok := s.table.lookup(window); ok && !s.seen[i] {
			s.seen[i] = true
			s.found = append(s.found, i)
		}
		start, digits = start+1, hashLen-1
	}
}

// hashTable is a set of hashes that several Scanners can share.
type hashTable struct {
	hashes []string
	index  map[string]int
	// filter has a bit set for the end of every hash. It answers nearly all windows
	// of text that is made of digits alone; the map, whose order of probing is
	// secret, answers the rest even if names were chosen to collide.
	filter []uint64
}

func newHashTable(hashes []string) *hashTable {
	t := &hashTable{index: make(map[string]int, len(hashes)), filter: make([]uint64, 1<<filterBits/64)}
	for _, h := range hashes {
		if _, ok := t.index[h]; ok || len(h) != hashLen {
			continue
		}
		t.index[h] = len(t.hashes)
		t.hashes = append(t.hashes, h)
		bit := filterBit([]byte(h))
		t.filter[bit/64] |= 1 << (bit % 64)
	}
	return t
}

func filterBit(window []byte) uint64 {
	return binary.LittleEndian.Uint64(window[hashLen-8:hashLen]) * filterFactor >> (64 - filterBits)
}

func (t *hashTable) lookup(window []byte) (int, bool) {
	bit := filterBit(window)
	if t.filter[bit/64]&(1<<(bit%64)) == 0 {
		return 0, false
	}
	i, ok := t.index[string(window)]
	return i, ok
}
