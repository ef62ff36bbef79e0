package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/layer"
)

// countedLayer counts how often its content is read. It is Unread as *layer.Layer is.
type countedLayer struct {
	text string
	err  error

	mu    sync.Mutex
	reads int
	known bool
}

func (l *countedLayer) Title() string { return "counted" }

func (l *countedLayer) Unread() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.known
}

func (l *countedLayer) Info(ctx context.Context) (layer.Info, error) {
	if l.Unread() {
		return l.WriteOnce(ctx, io.Discard)
	}
	return layer.Info{DiffID: digest.FromString(l.text), Size: int64(len(l.text))}, nil
}

func (l *countedLayer) Write(ctx context.Context, w io.Writer) error {
	_, err := l.WriteOnce(ctx, w)
	return err
}

func (l *countedLayer) WriteOnce(_ context.Context, w io.Writer) (layer.Info, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	if l.err != nil {
		return layer.Info{}, l.err
	}
	l.known = true
	_, err := io.WriteString(w, l.text)
	return layer.Info{DiffID: digest.FromString(l.text), Size: int64(len(l.text))}, err
}

func (l *countedLayer) PortableKey(context.Context) (digest.Digest, error) { return "key", nil }

// shared returns the layer as several places get it.
func shared(t *testing.T, l *countedLayer, users int) (*Sharing, *sharedLayer) {
	t.Helper()
	s := NewSharing(t.TempDir(), users)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	img := s.Image(Named{New(Description{Layers: []Layer{l, l}}), Names{RepoTags: []string{"a:1"}}})
	if img.Layers()[0] != img.Layers()[1] || img.(Named).RepoTags[0] != "a:1" {
		t.Fatal("the same layer became two, or the name was lost")
	}
	return s, img.Layers()[0].(*sharedLayer)
}

// TestSharing: a layer is read once, whatever places do with it and in whichever order.
func TestSharing(t *testing.T) {
	write := func(ctx context.Context, l *sharedLayer, want string) {
		var got bytes.Buffer
		if err := l.Write(ctx, &got); err != nil || got.String() != want {
			t.Errorf("%q, %v", got.String(), err)
		}
	}
	for name, use := range map[string]func(ctx context.Context, l *sharedLayer, want string){
		"digest, then content": func(ctx context.Context, l *sharedLayer, want string) {
			if info, err := l.Info(ctx); err != nil || info.DiffID != digest.FromString(want) {
				t.Errorf("%v, %v", info, err)
			}
			write(ctx, l, want)
		},
		"content": write,
		"content, then digest": func(ctx context.Context, l *sharedLayer, want string) {
			var got bytes.Buffer
			if info, err := l.WriteOnce(ctx, &got); err != nil || info.Size != int64(got.Len()) || got.String() != want {
				t.Errorf("%v, %v", info, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			own := &countedLayer{text: strings.Repeat("content ", 1000)}
			s, l := shared(t, own, 3)
			for range 3 {
				use(t.Context(), l, own.text)
				s.Next()
			}
			if key, err := l.PortableKey(t.Context()); key != "key" || err != nil || l.TalliedAs() != any(own) || l.Unread() {
				t.Errorf("key %q, %v", key, err)
			}
			if own.reads != 1 {
				t.Errorf("it was read %d times", own.reads)
			}
		})
	}
}

// TestSharingLimits: without room, after an error, or for the last place, layers are read as ever.
func TestSharingLimits(t *testing.T) {
	ctx := t.Context()
	own := &countedLayer{text: "text"}
	s, l := shared(t, own, 2)
	s.space.Store(3)
	for range 2 {
		var got bytes.Buffer
		if err := l.Write(ctx, &got); err != nil || got.String() != "text" {
			t.Errorf("without room: %q, %v", got.String(), err)
		}
	}
	if own.reads != 2 || s.space.Load() != 3 || l.kept() != nil {
		t.Errorf("read %d times, %d bytes of room", own.reads, s.space.Load())
	}

	own = &countedLayer{text: "text", err: errors.New("broken")}
	_, l = shared(t, own, 2)
	if _, err := l.Info(ctx); !errors.Is(err, own.err) {
		t.Errorf("%v", err)
	}
	own.err = nil
	if err := l.Write(ctx, writerFunc(func([]byte) (int, error) { return 0, errBroken })); !errors.Is(err, errBroken) || l.kept() != nil {
		t.Errorf("%v, or it was kept", err)
	}
	if err := l.Write(ctx, io.Discard); err != nil || l.kept() == nil {
		t.Errorf("%v, or it was not kept", err)
	}

	own = &countedLayer{text: "text"}
	s, l = shared(t, own, 2)
	s.Next()
	if err := l.Write(ctx, io.Discard); err != nil || l.kept() != nil {
		t.Errorf("%v, or it was kept for nobody", err)
	}
	stored := storedText("stored")
	if img := s.Image(New(Description{Layers: []Layer{stored}})); img.Layers()[0] != Layer(stored) {
		t.Error("a stored layer is shared")
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestSharingAtOnce: several goroutines may read a layer at once.
func TestSharingAtOnce(t *testing.T) {
	own := &countedLayer{text: strings.Repeat("content ", 100000)}
	_, l := shared(t, own, 2)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if i%2 == 0 {
				if _, err := l.Info(t.Context()); err != nil {
					t.Error(err)
				}
			}
			var got bytes.Buffer
			if err := l.Write(t.Context(), &got); err != nil || got.String() != own.text {
				t.Errorf("%d bytes, %v", got.Len(), err)
			}
		})
	}
	all.Wait()
}

// TestSharedManifest: a shared image has the config and the manifest that it has by itself.
func TestSharedManifest(t *testing.T) {
	ctx := t.Context()
	d := Description{Layers: []Layer{&countedLayer{text: "a"}, storedText("b")}, Annotations: map[string]string{"k": "v"}, OS: "linux", Architecture: "arm64", ModTime: 7}
	alone := New(d)
	s := NewSharing(t.TempDir(), 2)
	defer s.Close()
	img := s.Image(alone)
	layers := []v1.Descriptor{{Digest: digest.FromString("a")}, {Digest: digest.FromString("b")}}
	_, want, err := Manifest(ctx, alone, layers, false)
	if err != nil {
		t.Fatal(err)
	}
	_, got, err := Manifest(ctx, img, layers, false)
	if err != nil || !bytes.Equal(got.Data, want.Data) || ModTime(img) != 7 {
		t.Errorf("%s, %v, want %s", got.Data, err, want.Data)
	}
}
