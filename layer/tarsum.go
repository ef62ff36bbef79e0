package layer

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/tree"
)

// maxTarSumEntries limits the memory of TarSum: 32 bytes an entry.
const maxTarSumEntries = 4 << 20

// TarSum reads an uncompressed tar and returns Docker's TarSum of it, version 1,
// as "tarsum.v1+sha256:" and 64 hexadecimal digits (moby, pkg/tarsum): the
// SHA-256 of each entry's header fields, without its time, and content; these,
// sorted and in hexadecimal, hashed again. The order of the entries does not
// matter.
//
// A tar of more than 4,194,304 entries is an error. So is one without its end
// marker, which the reference implementation accepts. What follows the end
// marker is read and ignored.
func TarSum(ctx context.Context, r io.Reader) (string, error) {
	src := &eofNoter{r: bufio.NewReaderSize(ctxio.Reader(ctx, r), 64<<10)}
	sums, err := entrySums(tar.NewReader(src))
	if err != nil {
		return "", err
	}
	if src.eof {
		return "", errors.New("read tar: it ends without an end marker; it is cut short, or no tar")
	}
	if _, err := io.Copy(io.Discard, src.r); err != nil {
		return "", fmt.Errorf("read tar to its end: %w", err)
	}
	slices.SortFunc(sums, func(a, b [sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) })
	all := sha256.New()
	var digits [2 * sha256.Size]byte
	for i := range sums {
		hex.Encode(digits[:], sums[i][:])
		all.Write(digits[:])
	}
	return "tarsum.v1+sha256:" + hex.EncodeToString(all.Sum(nil)), nil
}

// entrySums returns the sum of each entry, in the tar's order.
func entrySums(tr *tar.Reader) ([][sha256.Size]byte, error) {
	var sums [][sha256.Size]byte
	h := sha256.New()
	buf := make([]byte, 64<<10)
	for {
		// Names that lead out of the tree are only hashed: whether the
		// environment asks archive/tar to refuse them must not matter.
		hdr, err := tr.Next()
		if err == io.EOF {
			return sums, nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return nil, fmt.Errorf("read tar, entry %d: %w", len(sums)+1, err)
		}
		if len(sums) == maxTarSumEntries {
			return nil, fmt.Errorf("read tar: it has more than %d entries", maxTarSumEntries)
		}
		h.Reset()
		h.Write(appendTarSumHeader(nil, hdr))
		if _, err := io.CopyBuffer(h, tr, buf); err != nil {
			return nil, fmt.Errorf("read tar, content of %q: %w", hdr.Name, err)
		}
		sums = append(sums, [sha256.Size]byte(h.Sum(nil)))
	}
}

// appendTarSumHeader appends the header fields that TarSum v1 hashes, each key
// followed by its value: no time, and extended attributes last, by name. The
// owner's names have their keys but no values: Go before 1.10 did not fill
// them in, and Docker kept the sums of that time.
func appendTarSumHeader(dst []byte, hdr *tar.Header) []byte {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	for _, f := range [][2]string{
		{"name", hdr.Name},
		{"mode", number(hdr.Mode)},
		{"uid", number(int64(hdr.Uid))},
		{"gid", number(int64(hdr.Gid))},
		{"size", number(hdr.Size)},
		{"typeflag", string([]byte{hdr.Typeflag})},
		{"linkname", hdr.Linkname},
		{"uname", ""},
		{"gname", ""},
		{"devmajor", number(hdr.Devmajor)},
		{"devminor", number(hdr.Devminor)},
	} {
		dst = append(append(dst, f[0]...), f[1]...)
	}
	var xattrs []record
	for key, value := range hdr.PAXRecords {
		if name, ok := strings.CutPrefix(key, tree.XattrRecord); ok {
			xattrs = append(xattrs, record{name, value})
		}
	}
	slices.SortFunc(xattrs, func(a, b record) int { return strings.Compare(a.key, b.key) })
	for _, x := range xattrs {
		dst = append(append(dst, x.key...), x.value...)
	}
	return dst
}

// eofNoter notes whether its reader was read to the end: archive/tar stops at
// a tar's end marker, and only without one does it meet the end of the input.
type eofNoter struct {
	r   io.Reader
	eof bool
}

func (e *eofNoter) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.eof = e.eof || err == io.EOF
	return n, err
}
