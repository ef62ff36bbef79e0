package dockerarchive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/layer"
)

// WriteSkopeo writes the image to w byte for byte as skopeo 1.9.3 does with
// `skopeo copy SOURCE docker-archive:FILE:NAME:TAG`, for an image named
// NAME:TAG. nixpkgs' pullImage pins the hash of such files.
//
// The members are <digest>.tar for each different layer, the lowest first;
// <digest of the config>.json; for each layer the legacy <id>/layer.tar (a
// link), <id>/VERSION and <id>/json; manifest.json and repositories. All have
// mode 0444, owner 0:0 and time 0. Of the image only the layers' tars, the
// config's bytes and the name matter: neither compression nor the manifest, so
// an image pulled with another compression has the same archive (skopeo 1.9.3
// itself cannot make one of zstd layers).
//
// Options.RepeatLayers, Compressor and Memo have no effect.
func WriteSkopeo(ctx context.Context, w io.Writer, img image.Named, opts Options) error {
	config, err := img.RawConfig(ctx)
	if err != nil {
		return err
	}
	names, err := img.Tagged(ctx)
	if err != nil {
		return err
	}
	refs, err := names.References()
	if err != nil {
		return err
	}
	if len(refs) == 0 {
		return errors.New("the image has no name")
	}
	opts.RepeatLayers = false
	s := &skopeoWriter{tar: ustar{w}, room: roomIn(w), img: img, opts: opts, written: map[digest.Digest]bool{}}
	if err := eachLayer(ctx, img, opts, by{room: s.room}, s.layer); err != nil {
		return err
	}
	configName := digest.FromBytes(config).Encoded() + ".json"
	if err := s.tar.file(configName, config); err != nil {
		return err
	}
	top, err := s.legacy(config)
	if err != nil {
		return err
	}
	if err := s.index(configName, refs[0], top); err != nil {
		return err
	}
	if err := s.tar.end(); err != nil {
		return err
	}
	return s.room.end()
}

type skopeoWriter struct {
	tar     ustar
	room    *room // nil if the archive is not such a file
	img     image.Named
	opts    Options
	layers  []digest.Digest
	written map[digest.Digest]bool
}

// layer writes a layer. Without a digest in info, digest and size are found out meanwhile.
func (s *skopeoWriter) layer(ctx context.Context, i int, l image.Layer, info layer.Info) (err error) {
	event := image.Event{Layer: i + 1, Layers: len(s.img.Layers()), Title: l.Title(), Size: info.Size}
	s.opts.observe(ctx, event, l)
	written := false
	if info.DiffID == "" {
		info, written, err = s.room.layer(ctx, l.(image.OnceLayer), blockSize, s.roomHeader)
	}
	if err == nil && !written && !s.written[info.DiffID] {
		if err = s.tar.layerHeader(info); err == nil {
			err = l.Write(ctx, s.tar.w)
		}
		written = true
	}
	if err == nil && written {
		err = s.tar.pad(info.Size)
	}
	if err != nil {
		return fmt.Errorf("layer %d (%q): %w", i+1, l.Title(), err)
	}
	if written {
		count(ctx, l, info)
	}
	s.written[info.DiffID] = true
	s.layers = append(s.layers, info.DiffID)
	event.Size, event.Done = info.Size, true
	s.opts.observe(ctx, event, l)
	return nil
}

// roomHeader returns the header of a layer that the archive does not have.
func (s *skopeoWriter) roomHeader(info layer.Info) ([]byte, error) {
	if s.written[info.DiffID] {
		return nil, nil
	}
	var b bytes.Buffer
	err := ustar{&b}.layerHeader(info)
	return b.Bytes(), err
}

// layerHeader writes a layer's header.
func (t ustar) layerHeader(info layer.Info) error {
	return t.header(info.DiffID.Encoded()+".tar", '0', "", 0o444, info.Size)
}

// topFields are the fields of the image's config that the top layer's legacy
// config has.
var topFields = []string{"architecture", "config", "container", "container_config", "created", "docker_version", "os"}

// legacy writes what Docker before version 1.10 reads for each layer, and
// returns the id of the top layer, or "" without layers.
func (s *skopeoWriter) legacy(config []byte) (string, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(config, &fields); err != nil {
		return "", fmt.Errorf("read config: %w", err)
	}
	var chain digest.Digest
	parent := ""
	for i, diffID := range s.layers {
		object := map[string][]byte{}
		if parent != "" {
			object["parent"] = quoted(parent)
		}
		if i == len(s.layers)-1 {
			for _, key := range topFields {
				object[key] = compact(fields[key])
			}
		}
		if i == 0 {
			chain = diffID
		} else {
			chain = digest.FromString(chain.String() + " " + diffID.String())
		}
		// The chain only makes ids differ; the object that is written has the id
		// instead.
		object["layer_id"] = quoted(chain.String())
		id := digest.FromBytes(joinObject(object, layerKeys)).Encoded()
		delete(object, "layer_id")
		object["id"] = quoted(id)
		if err := s.legacyLayer(id, diffID, joinObject(object, layerKeys)); err != nil {
			return "", err
		}
		parent = id
	}
	return parent, nil
}

func (s *skopeoWriter) legacyLayer(id string, diffID digest.Digest, object []byte) error {
	// skopeo's mode of a link is its type alone, which a header has elsewhere.
	if err := s.tar.header(id+"/layer.tar", '2', "../"+diffID.Encoded()+".tar", 0, 0); err != nil {
		return err
	}
	if err := s.tar.file(id+"/VERSION", []byte("1.0")); err != nil {
		return err
	}
	return s.tar.file(id+"/json", object)
}

// index writes manifest.json and repositories.
func (s *skopeoWriter) index(config string, name reference.NamedTagged, top string) error {
	names := []byte("[")
	for i, id := range s.layers {
		if i > 0 {
			names = append(names, ',')
		}
		names = append(names, quoted(id.Encoded()+".tar")...)
	}
	names = append(names, ']')
	manifest := fmt.Sprintf(`[{"Config":%s,"RepoTags":[%s],"Layers":%s}]`, quoted(config), quoted(name.String()), names)
	if err := s.tar.file("manifest.json", []byte(manifest)); err != nil {
		return err
	}
	repositories := "{}"
	if top != "" {
		repositories = fmt.Sprintf(`{%s:{%s:%s}}`, quoted(name.Name()), quoted(name.Tag()), quoted(top))
	}
	return s.tar.file("repositories", []byte(repositories))
}

// layerKeys are all keys that a legacy config may have, sorted.
var layerKeys = []string{
	"architecture", "config", "container", "container_config", "created", "docker_version", "id", "layer_id", "os", "parent",
}

// joinObject returns the JSON object of the keys that m has, in the order of
// keys.
func joinObject(m map[string][]byte, keys []string) []byte {
	b := []byte("{")
	for _, key := range keys {
		if value, ok := m[key]; ok {
			if len(b) > 1 {
				b = append(b, ',')
			}
			b = append(append(append(b, quoted(key)...), ':'), value...)
		}
	}
	return append(b, '}')
}

// compact returns JSON as Go writes it inside other JSON: without space, and
// with some characters escaped. Empty input becomes null.
func compact(raw json.RawMessage) []byte {
	if raw == nil {
		return []byte("null")
	}
	var tight, safe bytes.Buffer
	if err := json.Compact(&tight, raw); err != nil {
		return []byte("null") // cannot happen: raw is a part of what was parsed
	}
	json.HTMLEscape(&safe, tight.Bytes())
	return safe.Bytes()
}

// quoted returns as JSON a string with only the characters of names and digests.
func quoted(s string) []byte { return []byte(`"` + s + `"`) }
