package nixstore

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"
	"time"

	"golang.org/x/sys/unix"
)

const (
	pathA = "/nix/store/5pyppwda5h0yhy7qz8k21bs8nyvldcq1-a"
	pathB = "/nix/store/p9rz57rrd5hb8gsk9fcjgcv7iqszshja-b-1.0"
	pathC = "/nix/store/ghvd6qm356m5f58g93r2sb0sfrkvsv0w-c"

	// hash32 and hash16 are the SHA-256 of nothing.
	hash32 = "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"
	hash16 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	hash64 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	hash   = digest.Digest("sha256:" + hash16)
)

// twoNodes is what the good inputs describe.
var twoNodes = []PathInfo{
	{Path: pathB, NarHash: hash, NarSize: 7, References: []string{pathA, pathB}},
	{Path: pathA, NarHash: hash, NarSize: 120, Deriver: pathC},
}

// fill replaces A, B, C, H, X, each after a dollar sign, by the paths and hashes.
func fill(s string) string {
	return strings.NewReplacer("$A", pathA, "$B", pathB, "$C", pathC, "$H", hash32, "$X", hash16,
		"$a", path.Base(pathA), "$b", path.Base(pathB), "$c", path.Base(pathC), "$S", "sha256-"+hash64, "$s", hash64).Replace(s)
}

const goodList = `[{"path":"$B","narSize":7,"references":["$A","$B"],"closureSize":127,"narHash":"sha256:$H"},
	{"references":[],"narSize":120,"path":"$A","narHash":"sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=","deriver":"$C"}]`

func TestReadGraph(t *testing.T) {
	for _, test := range []struct {
		name, in string
		want     []PathInfo
		wantErr  []string
	}{
		{"list", goodList, twoNodes, nil},
		{"empty list", `[]`, nil, nil},
		{"object", `{"a":1,"graph":` + goodList + `,"args":["x"],"empty":[]}`, twoNodes, nil},
		{"object with an empty list", `{"graph":[]}`, nil, nil},
		{"two lists", `{"g":[{"path":"$B","narSize":7,"references":["$A","$B"],"narHash":"$X"}],"h":[{"path":"$A","narSize":120,"references":[],"narHash":"$H","deriver":"$C"}]}`, twoNodes, nil},
		{"two lists that agree", `{"g":` + goodList + `,"h":[{"path":"$A","narSize":120,"references":[]},{"path":"$B","narSize":7,"references":["$B","$A"],"narHash":"$X"}]}`, twoNodes, nil},
		{"two lists that do not", `{"g":` + goodList + `,"h":[{"path":"$A","narSize":121,"references":[]},{"path":"$B","narSize":7,"references":["$B"],"narHash":"sha256:` + strings.Repeat("0", 64) + `"}]}`, nil,
			[]string{`"h", entry 0`, pathA, "121", "120", "narHash is", `"h", entry 1`, pathB, "references differ"}},
		{"object of paths", `{"$B":{"narSize":7,"references":["$A","$B"],"narHash":"$H"},"$A":{"references":[],"narSize":120,"narHash":"$X","deriver":"$C","path":"ignored"}}`, twoNodes, nil},
		{"version 2", `{"version":2,"storeDir":"/nix/store","info":{"$b":{"version":2,"narSize":7,"references":["$a","$b"],"narHash":"$S","ca":null,"deriver":null},` +
			`"$a":{"references":[],"narSize":120,"narHash":{"algorithm":"sha256","format":"base64","hash":"$s"},"deriver":"$c","ca":{"method":"nar","hash":"$S"}}}}`,
			[]PathInfo{{Path: pathB, NarHash: hash, NarSize: 7, References: []string{pathA, pathB}},
				{Path: pathA, NarHash: hash, NarSize: 120, Deriver: pathC, CA: "fixed:r:sha256:" + hash32}}, nil},
		{"version 2 of another store", `{"version":2,"storeDir":"/gnu/store","info":{}}`, nil, []string{`its paths are in "/gnu/store"`}},
		{"version 3", `{"version":3,"info":{}}`, nil, []string{`its version is "3", want 2`}},
		{"version 2, bad parts", `{"version":2,"info":{"../x":{"references":[]},"$a":{"references":[],"narHash":{"algorithm":"sha256","format":"hex","hash":"00"}},"$b":{"references":[],"ca":{"method":"tar","hash":"$S"}}}}`,
			nil, []string{`"/nix/store/../x"`, `format: got "hex"`, `method: got "tar"`}},
		{"path that is not valid", `{"$B":{"references":[]},"$A":null}`, nil, []string{pathA + `": it is not valid in the store`}},
		{"path that is not valid, older", `[{"path":"$A","valid":false},{"references":[],"path":"$B"}]`, nil, []string{pathA + `": it is not valid in the store`}},
		{"path without an object", `{"$B":[]}`, nil, []string{pathB + `": want an object`}},
		{"no size", `[{"path":"$A","references":[]}]`, []PathInfo{{Path: pathA}}, nil},
		{"keys in other case", `[{"Path":"$A","references":[],"path":"$B"}]`, []PathInfo{{Path: pathB}}, nil},
		{"only keys in other case", `[{"Path":"$A","References":[]}]`, nil, []string{"entry 0", "path: want a string"}},
		{"other lists", `{"l":[{"path":"$A"}]}`, nil, []string{"no list of objects", "exportReferencesGraph"}},
		{"a list that is half a graph", `{"g":[{"path":"$A","references":[]},{"path":"$B"}]}`, nil, []string{`"g", entry 1`, pathB, "references: want a list"}},
		{"a list in a list", `[[{"path":"$A","references":[]}]]`, nil, []string{"entry 0: want an object"}},
		{"twice in one list", `[{"path":"$A","references":[]},{"path":"$A","references":[]}]`, nil, []string{"entry 1", pathA, "already"}},
		{"twice in the second list", `{"g":[],"h":[{"path":"$A","references":[]},{"path":"$A","references":[]}]}`, nil, []string{`"h", entry 1`, pathA, "already"}},
		{"all together", `[{"path":"/etc/x","references":["$C","/nix/store/../x"]},{"path":"$A","references":["$B"]},3]`, nil,
			[]string{"entry 2", `"/etc/x" is not in the store`, pathC + `" is not in the closure`, `"/nix/store/../x" is not a store path`, pathA, pathB + `" is not in the closure`}},
		{"illegal digit", `[{"path":"/nix/store/epyppwda5h0yhy7qz8k21bs8nyvldcq1-a","references":[]}]`, nil, []string{"entry 0", `"e"`}},
		{"path is a number", `[{"path":3,"references":[]}]`, nil, []string{"entry 0", "path: want a string"}},
		{"references is a string", `[{"path":"$A","references":"$A"}]`, nil, []string{pathA, "references: want a list"}},
		{"reference is null", `[{"path":"$A","references":[null]}]`, nil, []string{pathA, "reference 0: want a string"}},
		{"size negative", `[{"path":"$A","references":[],"narSize":-1}]`, nil, []string{pathA, "narSize", `"-1"`}},
		{"size not whole", `[{"path":"$A","references":[],"narSize":1.5}]`, nil, []string{pathA, "narSize", `"1.5"`}},
		{"size too large", `[{"path":"$A","references":[],"narSize":9223372036854775808}]`, nil, []string{pathA, "narSize"}},
		{"size null", `[{"path":"$A","references":[],"narSize":null}]`, nil, []string{pathA, "narSize"}},
		{"size largest", `[{"path":"$A","references":[],"narSize":9223372036854775807}]`, []PathInfo{{Path: pathA, NarSize: 1<<63 - 1}}, nil},
		{"everything", `[{"path":"$A","references":[],"narHash":"$H","narSize":1,"deriver":"$B","registrationTime":5,"ultimate":true,"signatures":["k:AA==","l:BB=="],"ca":"fixed:r:sha256:$H","valid":true,"closureSize":1}]`,
			[]PathInfo{{Path: pathA, NarHash: hash, NarSize: 1, Deriver: pathB, RegistrationTime: 5, Ultimate: true, Sigs: []string{"k:AA==", "l:BB=="}, CA: "fixed:r:sha256:" + hash32}}, nil},
		{"nulls", `[{"path":"$A","references":[],"deriver":null,"registrationTime":null,"ultimate":null,"signatures":null,"ca":null}]`, []PathInfo{{Path: pathA}}, nil},
		{"bad hash", `[{"path":"$A","references":[],"narHash":"sha256:$B"}]`, nil, []string{pathA, "narHash", "is not a SHA-256"}},
		{"hash is a number", `[{"path":"$A","references":[],"narHash":3}]`, nil, []string{pathA, "narHash: expected a string"}},
		{"bad deriver", `[{"path":"$A","references":[],"deriver":"/etc/x"}]`, nil, []string{"entry 0", "deriver", `"/etc/x" is not in the store`}},
		{"bad time", `[{"path":"$A","references":[],"registrationTime":-1}]`, nil, []string{pathA, "registrationTime", `"-1"`}},
		{"bad ultimate", `[{"path":"$A","references":[],"ultimate":1}]`, nil, []string{pathA, "ultimate: want true or false"}},
		{"bad signatures", `[{"path":"$A","references":[],"signatures":"k:AA=="}]`, nil, []string{pathA, "signatures: expected a list"}},
		{"key twice", `[{"path":"$A","path":"$B","references":[]}]`, nil, []string{`"path"`, "twice"}},
		{"cut", `[{"path":"$A"`, nil, []string{"unexpected EOF"}},
		{"trailing", `[] []`, nil, []string{"more after the end"}},
		{"deep", strings.Repeat("[", 10_000), nil, []string{"nested deeper"}},
		{"number", `3`, nil, []string{"want a list"}},
		{"empty", ``, nil, []string{"EOF"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ReadGraph("", strings.NewReader(fill(test.in)))
			checkNodes(t, got, err, test.want, test.wantErr)
		})
	}
}

func TestReadRegistration(t *testing.T) {
	const good = "$B\nsha256:$H\n7\n\n2\n$A\n$B\n$A\n$X\n120\n$C\n0\n"
	for _, test := range []struct {
		name, in string
		want     []PathInfo
		wantErr  []string
	}{
		{"registration", good, twoNodes, nil},
		{"no newline at the end", strings.TrimSuffix(good, "\n"), twoNodes, nil},
		{"empty", "", nil, nil},
		{"plain", "$B\n\n2\n$A\n$B\n$A\n$C\n0\n", []PathInfo{{Path: pathB, References: []string{pathA, pathB}}, {Path: pathA, Deriver: pathC}}, nil},
		{"plain with a deriver first", "$A\n$C\n0\n", []PathInfo{{Path: pathA, Deriver: pathC}}, nil},
		{"bad deriver", "$A\n/nix/store/x.drv\n0\n", nil, []string{"line 1", `deriver "/nix/store/x.drv" is not a store path`}},
		{"bad hash", "$A\n" + strings.Repeat("0g", 32) + "\n120\n\n0\n", nil, []string{"line 1", "line 2: hash", "is not a SHA-256"}},
		{"cut after the path", "$A\n", nil, []string{"line 1", pathA, "ends too early"}},
		{"cut in the references", "$A\n\n2\n$A\n", nil, []string{"line 1", pathA, "line 4", "ends too early"}},
		{"huge count", "$A\n\n2147483647\n$A\n", nil, []string{"ends too early"}},
		{"count too large", "$A\n\n99999999999\n", nil, []string{"line 3", "number of references", `"99999999999"`}},
		{"count negative", "$A\n\n-1\n", nil, []string{"line 3", `"-1"`}},
		{"count empty", "$A\n\n\n", nil, []string{"line 3", `""`}},
		{"size is not a number", "$A\n$H\n1k\n\n0\n", nil, []string{"line 3", "size", `"1k"`}},
		{"twice", "$A\n\n0\n$A\n\n0\n", nil, []string{"line 4", pathA, "already"}},
		{"blank line between", "$A\n\n0\n\n$B\n\n0\n", nil, []string{`path ""`}},
		{"missing and outside", "$A\n\n3\n$B\n/etc/x\n$C\n/x/y\n\n0\n", nil, []string{pathB + `" is not in the closure`, `"/etc/x" is not in the store`, pathC, `line 7: "/x/y"`}},
		{"problems before a cut", "/etc/x\n\n0\n$A\n", nil, []string{"ends too early", "/etc/x"}},
		{"long line", "$A\n\n0\n" + strings.Repeat("x", maxLine+1), nil, []string{"line 4", "longer than"}},
		{"NUL", "$A\x00\n\n0\n", nil, []string{`\x00`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ReadRegistration("", strings.NewReader(fill(test.in)))
			checkNodes(t, got, err, test.want, test.wantErr)
		})
	}
}

func checkNodes(t *testing.T, got []PathInfo, err error, want []PathInfo, wantErr []string) {
	t.Helper()
	if wantErr != nil {
		for i, s := range wantErr {
			wantErr[i] = fill(s)
		}
		wantError(t, err, wantErr...)
		if got != nil {
			t.Errorf("nodes %v beside an error", got)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if !sameNodes(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// sameNodes compares nodes in order; no references and nil are the same.
func sameNodes(a, b []PathInfo) bool {
	return slices.EqualFunc(a, b, func(a, b PathInfo) bool {
		if len(a.References)+len(b.References) == 0 {
			a.References, b.References = nil, nil
		}
		return reflect.DeepEqual(a, b)
	})
}

// brokenReader gives a text, then an error that wraps io.EOF.
func brokenReader(text string) io.Reader {
	broken := iotest.ErrReader(fmt.Errorf("connection lost: %w", io.EOF))
	return io.MultiReader(strings.NewReader(text), broken)
}

func TestReadError(t *testing.T) {
	for _, text := range []string{"", "$A\n\n0\n", "$A\n\n1\n"} {
		_, err := ReadRegistration("", brokenReader(fill(text)))
		wantError(t, err, "read registration", "connection lost")
	}
	_, err := ReadGraph("", brokenReader("[]"))
	wantError(t, err, "read reference graph", "connection lost")
}

func TestManyProblems(t *testing.T) {
	var in strings.Builder
	for i := range 500 {
		fmt.Fprintf(&in, "/bad/%d\n\n0\n", i)
	}
	_, err := ReadRegistration("", strings.NewReader(in.String()))
	wantError(t, err, `"/bad/0"`, `"/bad/19"`, "and 480 more")
	if n := len(err.Error()); n > 4000 {
		t.Errorf("the message has %d bytes", n)
	}
}

func TestReadOtherStoreDir(t *testing.T) {
	in := strings.ReplaceAll(fill("$B\n\n1\n$A\n$A\n\n0\n"), "/nix/store", "/tmp/s")
	if _, err := ReadRegistration("/tmp/s/", strings.NewReader(in)); err != nil {
		t.Error(err)
	}
	_, err := ReadRegistration("", strings.NewReader(in))
	wantError(t, err, "not in the store \"/nix/store\"")
	_, err = ReadGraph("relative", strings.NewReader("[]"))
	wantError(t, err, `store directory "relative"`)
	_, err = ReadRegistration("relative", strings.NewReader(""))
	wantError(t, err, `store directory "relative"`)
}

// endless is an input without end.
type endless byte

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(e)
	}
	return len(p), nil
}

func TestInputIsLimited(t *testing.T) {
	_, err := ReadGraph("", endless(' '))
	wantError(t, err, "longer than 64 MiB")
	_, err = ReadRegistration("", endless('x'))
	wantError(t, err, "longer than 8192 bytes")
	r := newLimitedReader(endless('x'), 1<<20)
	if n, err := io.Copy(io.Discard, r); n > 1<<20 || err == nil {
		t.Errorf("read %d bytes of at most %d, %v", n, 1<<20, err)
	}
	r = newLimitedReader(strings.NewReader("1234"), 4)
	if b, err := io.ReadAll(r); string(b) != "1234" || err != nil {
		t.Errorf("read %q, %v of what is as long as the limit", b, err)
	}
}

func TestReadClosureFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, data string) string {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(fill(data)), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	registration := "$B\nsha256:$H\n7\n\n2\n$A\n$B\n$A\n$X\n120\n$C\n0\n"
	write("info/registration", registration)
	write("info/store-paths", "x\n")
	if err := os.Symlink("info", filepath.Join(dir, "result")); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{
		write("list.json", " \n\t"+goodList),
		write("object", `{"graph":`+goodList+`}`),
		write("text", registration),
		filepath.Join(dir, "info"),
		filepath.Join(dir, "result"),
	} {
		got, err := ReadClosureFile("", p)
		checkNodes(t, got, err, twoNodes, nil)
	}
	if got, err := ReadClosureFile("", write("empty", "")); got == nil || len(got) != 0 || err != nil {
		t.Errorf("empty file: %#v, %v; want no nodes, but not nil", got, err)
	}

	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "no-info"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ path, want string }{
		{filepath.Join(dir, "fifo"), "FIFO"},
		{os.DevNull, "device"},
		{filepath.Join(dir, "missing"), "no such file"},
		{filepath.Join(dir, "no-info"), "no-info/registration"},
		{write("garbage", "\x7fELF\x00\x01"), "ends too early"},
		{write("space", strings.Repeat(" ", 10_000)), "longer than"},
		{write("bad.json", "[3]"), "entry 0"},
	} {
		t.Run(filepath.Base(test.path), func(t *testing.T) {
			before := time.Now()
			_, err := ReadClosureFile("", test.path)
			wantError(t, err, test.want, filepath.Base(test.path))
			if d := time.Since(before); d > 5*time.Second {
				t.Errorf("%s: refused after %v", test.path, d)
			}
		})
	}
}

// checkWhole fails unless a reader may return nodes.
func checkWhole(t *testing.T, nodes []PathInfo) {
	t.Helper()
	known := map[string]bool{}
	for _, n := range nodes {
		if _, err := ParsePath("", n.Path); err != nil || known[n.Path] {
			t.Errorf("path %q accepted (again: %v): %v", n.Path, known[n.Path], err)
		}
		known[n.Path] = true
	}
	for _, n := range nodes {
		for _, ref := range n.References {
			if !known[ref] {
				t.Errorf("reference %q accepted", ref)
			}
		}
	}
}

func FuzzReadGraph(f *testing.F) {
	f.Add(fill(goodList))
	f.Add(fill(`{"g":` + goodList + `,"h":[{"path":"$A","narSize":120,"references":[]}],"i":[1]}`))
	f.Add(fill(`{"version":2,"info":{"$a":{"references":["$a"],"narHash":{"algorithm":"sha256","format":"base64","hash":"$s"},"ca":{"method":"nar","hash":"$S"}}}}`))
	f.Add(fill(`[{"path":"$A","references":["/nix/store/../x"],"narSize":1e3}]`))
	f.Fuzz(func(t *testing.T, in string) {
		if nodes, err := ReadGraph("", strings.NewReader(in)); err == nil {
			checkWhole(t, nodes)
		}
	})
}

func FuzzReadRegistration(f *testing.F) {
	f.Add(fill("$B\nsha256:$H\n7\n\n2\n$A\n$B\n$A\n$X\n120\n\n0\n"))
	f.Add(fill("$B\n\n2\n$A\n$B\n$A\n$C\n0\n"))
	f.Add(fill("$A\n\n99\n"))
	f.Fuzz(func(t *testing.T, in string) {
		nodes, err := ReadRegistration("", strings.NewReader(in))
		if err != nil {
			return
		}
		checkWhole(t, nodes)
		again, err := ReadRegistration("", strings.NewReader(registrationText(nodes)))
		for i := range nodes { // the text has no form for an unknown hash
			nodes[i].NarHash = cmp.Or(nodes[i].NarHash, hash)
		}
		if err != nil || !sameNodes(again, nodes) {
			t.Errorf("%v comes back as %v, %v", nodes, again, err)
		}
	})
}

// registrationText writes nodes as closureInfo does.
func registrationText(nodes []PathInfo) string {
	var b strings.Builder
	for _, n := range nodes {
		fmt.Fprintf(&b, "%s\n%s\n%d\n%s\n%d\n", n.Path, cmp.Or(n.NarHash, hash), n.NarSize, n.Deriver, len(n.References))
		for _, ref := range n.References {
			fmt.Fprintln(&b, ref)
		}
	}
	return b.String()
}
