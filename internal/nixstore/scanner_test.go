package nixstore

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// otherHash is testHash with another last digit.
const otherHash = "5pyppwda5h0yhy7qz8k21bs8nyvldcq2"

// naiveScan is the oracle: one search per hash.
func naiveScan(data []byte, hashes []string) []string {
	found := []string{}
	for _, h := range hashes {
		if len(h) == hashLen && allDigits(h) && bytes.Contains(data, []byte(h)) {
			found = append(found, h)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// allDigits reports whether s is made of digits.
func allDigits(s string) bool {
	return strings.Trim(s, base32Digits) == ""
}

func TestScanner(t *testing.T) {
	all := []string{testHash, otherHash}
	for _, test := range []struct {
		name string
		data string
		want []string
	}{
		{"nothing", "", nil},
		{"alone", testHash, []string{testHash}},
		{"in a path", "#!/nix/store/" + testHash + "-sh/bin/sh\n", []string{testHash}},
		{"twice", testHash + "\x00" + testHash, []string{testHash}},
		{"both", otherHash + testHash, []string{testHash, otherHash}},
		{"digits around", "00abc" + testHash + "zzz", []string{testHash}},
		{"no digit in it", testHash[:16] + "e" + testHash[17:], nil},
		{"cut", testHash[:31], nil},
		{"upper case", strings.ToUpper(testHash), nil},
		{"long run of digits", strings.Repeat(testHash[:31], 9) + testHash, []string{testHash}},
		{"after a false start", testHash[:31] + testHash, []string{testHash}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := NewScanner(all)
			if n, err := s.Write([]byte(test.data)); n != len(test.data) || err != nil {
				t.Fatalf("Write = %d, %v", n, err)
			}
			if got := s.Found(); !slices.Equal(got, test.want) {
				t.Errorf("found %v, want %v", got, test.want)
			}
		})
	}
}

// TestScannerEdges cuts a stream with one hash everywhere around it: into two
// pieces, and into pieces of every length up to beyond a hash's.
func TestScannerEdges(t *testing.T) {
	for _, around := range []string{"\x00", "a", "-"} {
		pad := strings.Repeat(around, 40)
		data := []byte(pad + testHash + pad)
		for cut := range len(data) + 1 {
			s := NewScanner([]string{otherHash, testHash})
			s.Write(data[:cut])
			s.Write(data[cut:])
			if got := s.Found(); !slices.Equal(got, []string{testHash}) {
				t.Errorf("around %q, cut at %d: found %v", around, cut, got)
			}
		}
		for size := 1; size <= 70; size++ {
			s := NewScanner([]string{otherHash, testHash})
			for piece := range slices.Chunk(data, size) {
				s.Write(piece)
			}
			if got := s.Found(); !slices.Equal(got, []string{testHash}) {
				t.Errorf("around %q, pieces of %d: found %v", around, size, got)
			}
		}
	}
}

func TestScannerNextAndReset(t *testing.T) {
	s := NewScanner([]string{testHash, otherHash, "short", strings.Repeat("e", 32)})
	s.Write([]byte(testHash[:20]))
	s.Next()
	s.Write([]byte(testHash[20:]))
	s.Write([]byte(strings.Repeat("e", 32) + "short"))
	if got := s.Found(); len(got) != 0 {
		t.Errorf("found %v across two streams", got)
	}
	s.Write([]byte(otherHash))
	s.Next()
	if got := s.Found(); !slices.Equal(got, []string{otherHash}) {
		t.Errorf("found %v after Next", got)
	}
	s.Write([]byte(testHash[:20]))
	s.Reset()
	s.Write([]byte(testHash[20:]))
	if got := s.Found(); len(got) != 0 {
		t.Errorf("found %v after Reset", got)
	}
	s.Write([]byte(otherHash))
	if got := s.Found(); !slices.Equal(got, []string{otherHash}) {
		t.Errorf("found %v when it is there again", got)
	}
}

func FuzzScanner(f *testing.F) {
	f.Add([]byte("x/"+testHash+"-a"), testHash, otherHash, uint64(1))
	f.Add([]byte(testHash[:31]+testHash), testHash, otherHash, uint64(2))
	f.Add([]byte(strings.Repeat("0", 100)), strings.Repeat("0", 32), "e", uint64(3))
	f.Add([]byte(otherHash[1:]+testHash+otherHash), testHash, otherHash, uint64(4))
	f.Fuzz(func(t *testing.T, data []byte, a, b string, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 0))
		hashes := []string{a, b, a}
		if len(data) >= hashLen {
			// A hash that is there, if it is made of digits.
			at := rng.IntN(len(data) - hashLen + 1)
			hashes = append(hashes, string(data[at:at+hashLen]))
		}
		s := NewScanner(hashes)
		for rest := data; len(rest) > 0; {
			n := min(len(rest), rng.IntN(50))
			s.Write(rest[:n])
			rest = rest[n:]
		}
		if got, want := s.Found(), naiveScan(data, hashes); !slices.Equal(got, want) {
			t.Errorf("found %q, want %q", got, want)
		}
	})
}

// TestScannerRandom plants hashes in noise of each kind, as a fuzz target
// rarely does by itself.
func TestScannerRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for round := range 300 {
		hashes := randomHashes(rng, 50)
		var data []byte
		for len(data) < 3000 {
			switch rng.IntN(4) {
			case 0:
				data = append(data, hashes[rng.IntN(40)]...)
			case 1:
				data = append(data, hashes[rng.IntN(50)][:rng.IntN(32)]...)
			case 2:
				data = append(data, byte(rng.Uint32()))
			case 3:
				data = append(data, base32Digits[rng.IntN(32)])
			}
		}
		s := NewScanner(hashes)
		for rest := data; len(rest) > 0; {
			n := min(len(rest), rng.IntN(100))
			s.Write(rest[:n])
			rest = rest[n:]
		}
		if got, want := s.Found(), naiveScan(data, hashes); !slices.Equal(got, want) {
			t.Fatalf("round %d: found %q, want %q", round, got, want)
		}
	}
}

func randomHashes(rng *rand.Rand, n int) []string {
	hashes := make([]string, n)
	for i := range hashes {
		b := make([]byte, 20)
		for j := range b {
			b[j] = byte(rng.Uint32())
		}
		hashes[i] = Base32(b)
	}
	return hashes
}

func BenchmarkScanner(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 1<<20)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	// Machine code is roughly: many zeros, some letters, the rest spread.
	binary := slices.Clone(random)
	for i := range binary {
		if rng.IntN(3) == 0 {
			binary[i] = 0
		}
	}
	text := bytes.Repeat([]byte("This program is distributed in the hope that it will be useful,\nbut WITHOUT ANY WARRANTY; "), 1<<20/92)
	digits := make([]byte, 1<<20)
	for i := range digits {
		digits[i] = base32Digits[rng.IntN(32)]
	}
	for _, candidates := range []int{100, 100_000} {
		hashes := randomHashes(rng, candidates)
		for _, input := range []struct {
			name string
			data []byte
		}{{"random", random}, {"binary", binary}, {"text", text}, {"digits", digits}} {
			b.Run(fmt.Sprintf("%s/%d", input.name, candidates), func(b *testing.B) {
				s := NewScanner(hashes)
				b.SetBytes(int64(len(input.data)))
				for b.Loop() {
					s.Write(input.data)
				}
			})
		}
	}
}
