package compress

import (
	"fmt"
	"strconv"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Compression is an algorithm and its level. The zero value is gzip at its default
// level, the meaning of a spec without a compressor.
type Compression struct {
	Algorithm Algorithm
	// Level is 1 to 9 for gzip, 1 to 22 for zstd, 0 for the default (6 and 3)
	// and for no compression. Zstd's levels are the reference encoder's;
	// several of them give the same bytes here (1-2, 3-5, 6-9, 10-22).
	Level int
}

// Parse reads a compression from a spec or command line: none, gz or zstd, the last
// two with a level if wanted, as in "gz:9" or "zstd:19".
func Parse(s string) (Compression, error) {
	name, digits, leveled := strings.Cut(s, ":")
	c := Compression{Algorithm: Algorithm(name)}
	if name == "" {
		return Compression{}, unknown(s)
	}
	if leveled {
		n, err := strconv.Atoi(digits)
		if err != nil || strconv.Itoa(n) != digits || n == 0 {
			return Compression{}, fmt.Errorf("compressor %q: %q is not a level: give a number as in gz:9 or zstd:19", s, digits)
		}
		c.Level = n
	}
	if err := c.Check(); err != nil {
		return Compression{}, err
	}
	return c, nil
}

func unknown(s string) error {
	return fmt.Errorf("unknown compressor %q: want %s", s, Choices())
}

// Names returns the names that Parse reads, without levels.
func Names() []string {
	var names []string
	for _, f := range formats {
		if f.write != nil {
			names = append(names, string(f.algorithm))
		}
	}
	return names
}

// Choices lists what Parse reads: "none, gz, zstd, gz:1 to gz:9 or ...".
func Choices() string {
	all := Names()
	for _, f := range formats {
		if f.write != nil && f.highest > 0 {
			all = append(all, fmt.Sprintf("%s:1 to %[1]s:%d", f.algorithm, f.highest))
		}
	}
	last := len(all) - 1
	return strings.Join(all[:last], ", ") + " or " + all[last]
}

// Check returns an error unless c can be written.
func (c Compression) Check() error {
	f, _ := c.algorithm().format()
	switch {
	case f.write == nil:
		return unknown(c.String())
	case f.highest == 0 && c.Level != 0:
		return fmt.Errorf("compressor %q: %s takes no level", c.String(), f.name)
	case c.Level < 0 || c.Level > f.highest:
		return fmt.Errorf("compressor %q: want a level of 1 to %d", c.String(), f.highest)
	}
	return nil
}

func (c Compression) algorithm() Algorithm {
	if c.Algorithm == "" {
		return Gzip
	}
	return c.Algorithm
}

// String returns c in the form that Parse reads.
func (c Compression) String() string {
	if c.Level == 0 {
		return string(c.algorithm())
	}
	return string(c.algorithm()) + ":" + strconv.Itoa(c.Level)
}

// Ext returns the ending that a compressed file's name gets: "", ".gz" or
// ".zst".
func (c Compression) Ext() string {
	f, _ := c.algorithm().format()
	return f.file
}

// MediaType returns the media type of a layer with this compression (OCI image
// specification, layer.md).
func (c Compression) MediaType() string {
	f, _ := c.algorithm().format()
	return v1.MediaTypeImageLayer + f.suffix
}
