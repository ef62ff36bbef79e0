package tree

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
)

// listed opens layers so that they can be listed, and returns their listing.
func listed(t testing.TB, layers []LayerSource) (*Overlay, []byte) {
	t.Helper()
	o, err := OpenOverlay(t.Context(), layers, OverlayOptions{Lasting: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	var out bytes.Buffer
	if err := o.WriteListing(&out); err != nil {
		t.Fatal(err)
	}
	return o, out.Bytes()
}

// listedLayers are layers with something of everything.
func listedLayers(t testing.TB) []LayerSource {
	capable := reg("usr/bin/ping", "ping")
	capable.PAXRecords = map[string]string{
		XattrRecord + CapabilityXattr: "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		XattrRecord + "user.a":        "1", XattrRecord + "user.b": "",
	}
	link := func(name, to string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to}
	}
	return memLayers(
		makeTar(t, dirAs("./", 0o711, 1), reg("a", "hello"), link("b", "a"), reg("empty", ""), capable, reg("gone", "x"), reg("below/d/e", "old"),
			tar.Header{Name: "bin", Typeflag: tar.TypeSymlink, Linkname: "usr/bin"}),
		makeTar(t, wh(".wh.gone"), wh("below/.wh..wh..opq"), reg("below/new", "new"), link("c", "a"), reg("empty2", ""),
			tar.Header{Name: "dev/null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3}, tar.Header{Name: "dev/fifo", Typeflag: tar.TypeFifo, Mode: 0o600}),
		makeTar(t, reg("a", "hello again"), reg("usr/bin/true", strings.Repeat("t", 2000))),
	)
}

// wantSame compares two overlays, and what their files are read as in every way.
func wantSame(t *testing.T, got, want *Overlay) {
	t.Helper()
	if len(got.Entries) != len(want.Entries) {
		t.Fatalf("%d entries, want %d", len(got.Entries), len(want.Entries))
	}
	for i, e := range got.Entries {
		w := want.Entries[i]
		a, b := *e, *w
		a.Content, b.Content, a.Xattrs, b.Xattrs = nil, nil, nil, nil
		if !equalEntries(a, b) || !maps.Equal(e.Xattrs, w.Xattrs) || (e.Content == nil) != (w.Content == nil) {
			t.Errorf("%+v, want %+v", e, w)
		}
	}
	if a, b := contents(t, got), contents(t, want); !slices.Equal(a, b) {
		t.Errorf("contents are %q, want %q", a, b)
	}
}

func equalEntries(a, b Entry) bool {
	return a.Path == b.Path && a.Type == b.Type && a.Implied == b.Implied && a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID &&
		a.Uname == b.Uname && a.Gname == b.Gname && a.ModTime == b.ModTime && a.Linkname == b.Linkname &&
		a.Devmajor == b.Devmajor && a.Devminor == b.Devminor && a.Size == b.Size && a.Stamp == b.Stamp && a.Source == b.Source
}

// contents reads all files: one by one, in one pass, and from a spool.
func contents(t *testing.T, o *Overlay) (all []string) {
	t.Helper()
	one := func() {
		for _, e := range o.Entries {
			if e.Content == nil {
				continue
			}
			r, err := e.Open()
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(r)
			r.Close()
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, e.Path+"="+string(data))
		}
	}
	one()
	err := o.Each(t.Context(), func(files []*Entry, r io.Reader) error {
		data, err := io.ReadAll(r)
		for _, e := range files {
			all = append(all, e.Path)
		}
		all = append(all, string(data))
		return err
	})
	if err == nil {
		err = o.Spool(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	one()
	return all
}

// TestListing: a listing shows what the layers show, and no layer is opened for it.
func TestListing(t *testing.T) {
	for name, layers := range map[string][]LayerSource{
		"everything": listedLayers(t), "no layers": nil, "the same twice": append(listedLayers(t)[2:], listedLayers(t)[2]),
	} {
		t.Run(name, func(t *testing.T) {
			want, listing := listed(t, layers)
			opened := 0
			for _, l := range layers {
				opened += int(l.(*memLayer).opens.Load())
			}
			got, err := OpenListing(t.Context(), bytes.NewReader(listing), layers, OverlayOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer got.Close()
			for _, l := range layers {
				opened -= int(l.(*memLayer).opens.Load())
			}
			if opened != 0 {
				t.Errorf("layers were opened %d times", -opened)
			}
			var again bytes.Buffer
			if err := got.WriteListing(&again); err != nil || !bytes.Equal(again.Bytes(), listing) {
				t.Errorf("its listing is another: %v", err)
			}
			wantSame(t, got, want)
			wantClosed(t, layers)
		})
	}
}

// TestListingOdd: files of odd tars, sparse ones among them, are read as without a listing.
func TestListingOdd(t *testing.T) {
	read := 0
	for _, d := range disagreements() {
		layers := memLayers(append(bytes.Join(d.parts, nil), make([]byte, 2*tarBlock)...))
		o, err := OpenOverlay(t.Context(), layers, OverlayOptions{})
		if err != nil {
			continue
		}
		o.Close()
		read++
		t.Run(d.name, func(t *testing.T) {
			want, listing := listed(t, layers)
			got, err := OpenListing(t.Context(), bytes.NewReader(listing), layers, OverlayOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer got.Close()
			wantSame(t, got, want)
		})
	}
	if read < 20 {
		t.Errorf("only %d tars are read", read)
	}
}

// TestListingDamaged: with any bit flipped, a listing is refused, or shows nothing that could not
// be written; with any length it is refused.
func TestListingDamaged(t *testing.T) {
	layers := listedLayers(t)
	_, listing := listed(t, layers)
	for i := range 8 * len(listing) {
		bad := bytes.Clone(listing)
		bad[i/8] ^= 1 << (i % 8)
		checkListing(t, bad, layers)
	}
	for n := range listing {
		if _, err := OpenListing(t.Context(), bytes.NewReader(listing[:n]), layers, OverlayOptions{}); err == nil {
			t.Fatalf("cut after %d bytes, it is accepted", n)
		}
	}
	if _, err := OpenListing(t.Context(), bytes.NewReader(append(listing, 0)), layers, OverlayOptions{}); err == nil {
		t.Error("with a byte at its end, it is accepted")
	}
	if _, err := OpenListing(t.Context(), bytes.NewReader(listing), layers[1:], OverlayOptions{}); err == nil {
		t.Error("with other layers, it is accepted")
	}
}

// checkListing checks what an accepted listing shows.
func checkListing(t testing.TB, data []byte, layers []LayerSource) {
	o, err := OpenListing(t.Context(), bytes.NewReader(data), layers, OverlayOptions{})
	if err != nil {
		return
	}
	defer o.Close()
	if _, err := grow(o.Entries); err != nil {
		t.Fatalf("%q shows what is no tree: %v", data, err)
	}
	if !slices.IsSortedFunc(o.Entries, compareEntries) {
		t.Fatalf("%q is in another order", data)
	}
	var again bytes.Buffer
	if err := o.WriteListing(&again); err != nil {
		t.Fatalf("%q cannot be written again: %v", data, err)
	}
	same, err := OpenListing(t.Context(), bytes.NewReader(again.Bytes()), layers, OverlayOptions{})
	if err != nil || len(same.Entries) != len(o.Entries) {
		t.Fatalf("%q is not accepted once more: %v", data, err)
	}
	_ = o.Each(t.Context(), func(_ []*Entry, r io.Reader) error {
		_, err := io.CopyN(io.Discard, r, 1<<20)
		return err
	})
}

func FuzzListing(f *testing.F) {
	layers := listedLayers(f)
	_, listing := listed(f, layers)
	f.Add(listing)
	f.Add([]byte(listingMagic))
	f.Fuzz(func(t *testing.T, data []byte) { checkListing(t, data, layers) })
}

// TestListingOtherLayers: from layers that are not those of the listing, no file is read to its
// end.
func TestListingOtherLayers(t *testing.T) {
	layers := memLayers(makeTar(t, reg("a", "hello")))
	_, listing := listed(t, layers)
	layers[0].(*memLayer).data = makeTar(t, reg("a", "jello"))
	o, err := OpenListing(t.Context(), bytes.NewReader(listing), layers, OverlayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := o.Entries[1].Open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, errChanged) {
		t.Errorf("it is read: %v", err)
	}
	if err := o.Spool(t.Context()); !errors.Is(err, errChanged) {
		t.Errorf("it is spooled: %v", err)
	}
}

// TestListingLimits: what the limits do not allow of layers, they do not allow of their listing.
func TestListingLimits(t *testing.T) {
	layers := listedLayers(t)
	o, listing := listed(t, layers)
	for name, opts := range map[string]OverlayOptions{
		"bytes":   {MaxBytes: o.cost.bytes - 1},
		"entries": {MaxEntries: int(o.cost.entries) - 1},
	} {
		var limit *LimitError
		if _, err := OpenListing(t.Context(), bytes.NewReader(listing), layers, opts); !errors.As(err, &limit) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := OpenOverlay(t.Context(), layers, opts); !errors.As(err, &limit) {
			t.Errorf("%s, of the layers: %v", name, err)
		}
	}
	if _, err := OpenListing(t.Context(), bytes.NewReader(listing), layers, OverlayOptions{MaxBytes: o.cost.bytes, MaxEntries: int(o.cost.entries)}); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := OpenListing(ctx, bytes.NewReader(listing), layers, OverlayOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestNotListed: what a listing cannot describe has none.
func TestNotListed(t *testing.T) {
	for name, opts := range map[string]OverlayOptions{"not lasting": {}, "exact": {Lasting: true, Exact: true}, "on a tree": {Lasting: true, Below: []*Entry{NewFile("x", 0o644, "")}}} {
		o, err := OpenOverlay(t.Context(), memLayers(makeTar(t, reg("a", "hello"))), opts)
		if err == nil {
			err = o.WriteListing(io.Discard)
		}
		if err == nil {
			t.Errorf("%s: it is listed", name)
		}
	}
	// Of a path that is held once for a file, and the directories above it that nothing describes,
	// a listing makes many.
	o, err := OpenOverlay(t.Context(), memLayers(makeTar(t, reg(strings.Repeat("d/", 1900)+"f", ""))), OverlayOptions{Lasting: true})
	if err != nil {
		t.Fatal(err)
	}
	o.maxText = o.text() - 1
	if err := o.WriteListing(io.Discard); err == nil {
		t.Error("paths that take too much are listed")
	}
}
