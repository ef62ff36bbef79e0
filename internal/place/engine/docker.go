package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/lack"
	"github.com/varve-image/varve/internal/ocijson"
)

// DefaultDockerHost is where Docker listens by default.
const DefaultDockerHost = "unix:///var/run/docker.sock"

const (
	// maxInspect limits what an engine says of an image, and maxReport what it
	// says of a load, in bytes.
	maxInspect = 8 << 20
	maxReport  = 1 << 20
)

// DockerOptions says where a Docker daemon, or what answers like one, is. It is
// found in docker's way.
type DockerOptions struct {
	// Host is as in DOCKER_HOST: unix:///PATH, tcp://HOST:PORT or
	// ssh://USER@HOST. If it is empty, a context is used, and then
	// DefaultDockerHost.
	Host string
	// Context is the name of a Docker context (DOCKER_CONTEXT). If it and Host
	// are empty, the one that "docker context use" chose is used.
	Context string
	// ConfigDir has Docker's contexts and config.json (DOCKER_CONFIG, or
	// ~/.docker); empty means none.
	ConfigDir string
	// TLS and TLSVerify use TLS for a tcp:// Host (DOCKER_TLS,
	// DOCKER_TLS_VERIFY); the second verifies its certificate. CertDir has
	// ca.pem, cert.pem and key.pem (DOCKER_CERT_PATH); it defaults to ConfigDir.
	TLS, TLSVerify bool
	CertDir        string
}

// Docker returns the engine behind Docker's API. Its error is about the options;
// an engine that does not answer is an error later.
func Docker(opts DockerOptions) (Engine, error) {
	e, err := opts.endpoint()
	if err != nil {
		return nil, err
	}
	return newAPI("Docker", e)
}

// api is an engine that answers Docker's API: Docker and Podman's service.
type api struct {
	product string
	host    host
	client  *http.Client
	// manner is how it takes images.
	manner learned[manner]
}

func newAPI(product string, e endpoint) (*api, error) {
	h, err := parseHost(e)
	if err != nil {
		return nil, err
	}
	return &api{product: product, host: h, client: h.client(false)}, nil
}

func (a *api) String() string { return fmt.Sprintf("%s at %v", a.product, a.host) }

// do sends a request. A status other than 200 or 201 is an *apiError.
func (a *api) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	return a.by(ctx, a.client, method, path, body)
}

// by is do with a client.
func (a *api) by(ctx context.Context, client *http.Client, method, path string, body io.Reader) (*http.Response, error) {
	// The host name is never looked up. Without a version in the path engines
	// use their current one.
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "varve")
	if body != nil {
		req.Header.Set("Content-Type", "application/x-tar")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, ended(ctx, a.host.explain(a.product, err))
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated {
		defer resp.Body.Close()
		return nil, ended(ctx, readError(resp))
	}
	return resp, nil
}

// answer asks a question, and returns the answer, of at most maxInspect bytes, and its header.
func (a *api) answer(ctx context.Context, client *http.Client, method, path string) ([]byte, http.Header, error) {
	ctx, cancel := question(ctx)
	defer cancel()
	resp, err := a.by(ctx, client, method, path, nil)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxInspect+1))
	if err == nil && len(data) > maxInspect {
		err = fmt.Errorf("more than %d bytes", maxInspect)
	}
	return data, resp.Header, ended(ctx, err)
}

// apiError is an answer that says why a request failed.
type apiError struct {
	status  int
	message string
}

func (e *apiError) Error() string {
	return fmt.Sprintf("it answers %d: %s", e.status, shown(e.message))
}

func readError(resp *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxText))
	if err != nil && len(data) == 0 {
		data = []byte(err.Error())
	}
	var body struct{ Message string }
	if json.Unmarshal(data, &body) == nil && body.Message != "" {
		return &apiError{resp.StatusCode, body.Message}
	}
	return &apiError{resp.StatusCode, string(data)}
}

// Identify asks for the image (API: ImageInspect).
func (a *api) Identify(ctx context.Context, name string) (Identity, error) {
	// Engines without that parameter ignore it.
	data, _, err := a.answer(ctx, a.client, http.MethodGet, "/images/"+name+"/json?manifests=1")
	if isNotFound(err) {
		return Identity{}, notThere(name)
	}
	var asAPI *apiError
	var missing *lack.Error
	if errors.As(err, &asAPI) || errors.As(err, &missing) {
		return Identity{}, err
	}
	var id Identity
	if err == nil {
		id, err = parseInspect(data)
	}
	if err != nil {
		return Identity{}, fmt.Errorf("read what it says of image %q: %w", name, err)
	}
	return id, nil
}

// isNotFound reports whether err is the answer that there is no such image.
func isNotFound(err error) bool {
	var asAPI *apiError
	return errors.As(err, &asAPI) && asAPI.status == http.StatusNotFound
}

func parseInspect(data []byte) (Identity, error) {
	o, err := ordjson.ParseObject(data, "Id", "Descriptor", "Manifests")
	if err != nil {
		return Identity{}, err
	}
	text, err := o.String("Id")
	if err != nil {
		return Identity{}, err
	}
	id, err := digest.Parse(text)
	if err != nil {
		return Identity{}, fmt.Errorf("id %q: %w", text, err)
	}
	if descriptor, _ := o.Get("Descriptor"); descriptor == nil {
		return Identity{ID: id}, nil
	}
	// Docker keeps its images in containerd then: Id is the manifest's.
	return Identity{Manifest: id, Incomplete: incomplete(o, id)}, nil
}

// incomplete reports whether an engine says of a manifest, or of the images in an index, that it has
// not everything that they list.
func incomplete(inspect *ordjson.Object, target digest.Digest) bool {
	v, _ := inspect.Get("Manifests")
	list, _ := v.([]any)
	lacks := map[string]bool{}
	images := false
	for _, item := range list {
		o, _ := item.(*ordjson.Object)
		if o == nil {
			continue
		}
		id, _ := o.String("ID")
		kind, _ := o.String("Kind")
		available, _ := o.Get("Available")
		lacks[id] = available == false
		images = images || kind == "image" && lacks[id]
	}
	if own, listed := lacks[target.String()]; listed {
		return own
	}
	return images
}

// Save gets the image (API: ImageGet). Engines before API 1.48 have images for one platform, and
// ignore the question for another.
func (a *api) Save(ctx context.Context, name, platform string) (io.ReadCloser, error) {
	query, err := platformQuery(platform)
	if err != nil {
		return nil, err
	}
	watch := newWatch(ctx)
	resp, err := a.do(watch.ctx, http.MethodGet, "/images/"+name+"/get"+query, nil)
	if err != nil {
		watch.stop()
		return nil, err
	}
	watch.rest()
	return watchedReader{watch, resp.Body}, nil
}

// platformQuery returns the query for a platform, which is a JSON object of the OCI image-spec.
func platformQuery(platform string) (string, error) {
	if platform == "" {
		return "", nil
	}
	p, err := ocijson.ParsePlatform(platform)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(p)
	return "?" + url.Values{"platform": {string(text)}}.Encode(), err
}

// send sends an archive (API: ImageLoad).
func (a *api) send(ctx context.Context, write writeFunc) ([]string, error) {
	watch := newWatch(ctx)
	defer watch.stop()
	f := startFeeder(watch.ctx, watch.writer(write))
	resp, err := a.do(watch.ctx, http.MethodPost, "/images/load?quiet=1", f)
	var names []string
	if err == nil {
		names, err = readReport(resp.Body)
		resp.Body.Close()
	}
	if own := f.stop(); own != nil {
		return nil, own
	}
	return names, ended(watch.ctx, err)
}

// unpackError begins what Docker says of an image that it has, and that cannot be used.
const unpackError = "Error unpacking image"

// readReport reads the stream of messages about a load, each a JSON object on
// a line of its own, and returns the names in it.
func readReport(r io.Reader) ([]string, error) {
	rest := &io.LimitedReader{R: r, N: maxReport + 1}
	lines := bufio.NewScanner(rest)
	lines.Buffer(nil, maxText)
	var names []string
	for lines.Scan() {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		var message struct{ Stream, Error string }
		if err := json.Unmarshal(line, &message); err != nil {
			return nil, fmt.Errorf("it answers what is not a message: %s", shown(string(line)))
		}
		if message.Error != "" {
			return nil, &refusal{fmt.Errorf("it says %s", shown(message.Error))}
		}
		if strings.HasPrefix(strings.TrimSpace(message.Stream), unpackError) {
			// Docker with containerd's store says it behind the image's name, and answers 200.
			return nil, &refusal{fmt.Errorf("it says %s", shown(message.Stream))}
		}
		names = addNames(names, slices.Values(loadedNames(message.Stream)))
	}
	if rest.N == 0 {
		return nil, fmt.Errorf("it answers more than %d bytes", maxReport)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read its answer: %w", err)
	}
	if len(names) == 0 {
		return nil, errors.New("it does not say that it loaded an image")
	}
	return names, nil
}

// errAbandoned is the error of a writer whose reader has stopped.
var errAbandoned = errors.New("the engine reads no further")

// feeder is a request body that a WriteFunc writes.
type feeder struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   chan error
}

func startFeeder(ctx context.Context, write writeFunc) *feeder {
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	f := &feeder{r, cancel, make(chan error, 1)}
	go func() {
		err := write(ctx, w)
		// An error instead of the end breaks off the request, so the engine sees
		// that the archive is not whole.
		w.CloseWithError(err)
		f.done <- err
	}()
	return f
}

// Close is called by the HTTP client.
func (f *feeder) Close() error { return f.CloseWithError(errAbandoned) }

// stop ends the writer and returns its error, unless that comes from the lack of
// a reader: then the cause is reported elsewhere.
func (f *feeder) stop() error {
	f.Close()
	f.cancel()
	err := <-f.done
	if errors.Is(err, errAbandoned) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
