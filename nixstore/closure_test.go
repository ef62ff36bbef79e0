package nixstore

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/layering"
)

const (
	pathA = "/nix/store/5pyppwda5h0yhy7qz8k21bs8nyvldcq1-a"
	pathB = "/nix/store/p9rz57rrd5hb8gsk9fcjgcv7iqszshja-b-1.0"
	pathC = "/nix/store/ghvd6qm356m5f58g93r2sb0sfrkvsv0w-c"
)

// twoNodes is what the good inputs describe.
var twoNodes = []layering.Node{
	{Path: pathB, NarSize: 7, References: []string{pathA, pathB}},
	{Path: pathA, NarSize: 120},
}

// fill replaces A, B, C, each after a dollar sign, by the paths.
func fill(s string) string {
	return strings.NewReplacer("$A", pathA, "$B", pathB, "$C", pathC).Replace(s)
}

const goodList = `[{"path":"$B","narSize":7,"references":["$A","$B"],"closureSize":127,"narHash":"x"},
	{"references":[],"narSize":120,"path":"$A"}]`

func TestReadGraph(t *testing.T) {
	for _, test := range []struct {
		name, in string
		want     []layering.Node
		wantErr  []string
	}{
		{"list", goodList, twoNodes, nil},
		{"empty list", `[]`, nil, nil},
		{"object", `{"a":1,"graph":` + goodList + `,"args":["x"],"empty":[]}`, twoNodes, nil},
		{"object with an empty list", `{"graph":[]}`, nil, nil},
		{"two lists", `{"g":[{"path":"$B","narSize":7,"references":["$A","$B"]}],"h":[{"path":"$A","narSize":120,"references":[]}]}`, twoNodes, nil},
		{"two lists that agree", `{"g":` + goodList + `,"h":[{"path":"$A","narSize":120,"references":[]},{"path":"$B","narSize":7,"references":["$B","$A"]}]}`, twoNodes, nil},
		{"two lists that do not", `{"g":` + goodList + `,"h":[{"path":"$A","narSize":121,"references":[]},{"path":"$B","narSize":7,"references":["$B"]}]}`, nil,
			[]string{`"h", entry 0`, pathA, "121", "120", `"h", entry 1`, pathB, "references differ"}},
		{"no size", `[{"path":"$A","references":[]}]`, []layering.Node{{Path: pathA}}, nil},
		{"keys in other case", `[{"Path":"$A","references":[],"path":"$B"}]`, []layering.Node{{Path: pathB}}, nil},
		{"only keys in other case", `[{"Path":"$A","References":[]}]`, nil, []string{"entry 0", "path: want a string"}},
		{"other lists", `{"l":[{"path":"$A"}]}`, nil, []string{"no list of objects", "exportReferencesGraph"}},
		{"a list that is half a graph", `{"g":[{"path":"$A","references":[]},{"path":"$B"}]}`, nil, []string{`"g", entry 1`, pathB, "references: want a list"}},
		{"a list in a list", `[[{"path":"$A","references":[]}]]`, nil, []string{"entry 0: want an object"}},
		{"twice in one list", `[{"path":"$A","references":[]},{"path":"$A","references":[]}]`, nil, []string{"entry 1", pathA, "already"}},
		{"twice in the second list", `{"g":[],"h":[{"path":"$A","references":[]},{"path":"$A","references":[]}]}`, nil, []string{`"h", entry 1`, pathA, "already"}},
		{"all together", `[{"path":"/etc/x","references":["$C","/nix/store/../x"]},{"path":"$A","references":["$B"]},3]`, nil,
			[]string{"entry 2", `"/etc/x" is not in the store`, pathC + `" is not in the closure`, `"/nix/store/../x" is no store path`, pathA, pathB + `" is not in the closure`}},
		{"illegal digit", `[{"path":"/nix/store/epyppwda5h0yhy7qz8k21bs8nyvldcq1-a","references":[]}]`, nil, []string{"entry 0", `"e"`}},
		{"path is a number", `[{"path":3,"references":[]}]`, nil, []string{"entry 0", "path: want a string"}},
		{"references is a string", `[{"path":"$A","references":"$A"}]`, nil, []string{pathA, "references: want a list"}},
		{"reference is null", `[{"path":"$A","references":[null]}]`, nil, []string{pathA, "reference 0: want a string"}},
		{"size negative", `[{"path":"$A","references":[],"narSize":-1}]`, nil, []string{pathA, "narSize", `"-1"`}},
		{"size not whole", `[{"path":"$A","references":[],"narSize":1.5}]`, nil, []string{pathA, "narSize", `"1.5"`}},
		{"size too large", `[{"path":"$A","references":[],"narSize":9223372036854775808}]`, nil, []string{pathA, "narSize"}},
		{"size null", `[{"path":"$A","references":[],"narSize":null}]`, nil, []string{pathA, "narSize"}},
		{"size largest", `[{"path":"$A","references":[],"narSize":9223372036854775807}]`, []layering.Node{{Path: pathA, NarSize: 1<<63 - 1}}, nil},
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
	const hash = "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73\n"
	const good = "$B\n" + hash + "7\n\n2\n$A\n$B\n$A\n" + hash + "120\n/nix/store/x.drv\n0\n"
	for _, test := range []struct {
		name, in string
		want     []layering.Node
		wantErr  []string
	}{
		{"registration", good, twoNodes, nil},
		{"no newline at the end", strings.TrimSuffix(good, "\n"), twoNodes, nil},
		{"empty", "", nil, nil},
		{"plain", "$B\n\n2\n$A\n$B\n$A\n/nix/store/x.drv\n0\n", []layering.Node{{Path: pathB, References: []string{pathA, pathB}}, {Path: pathA}}, nil},
		{"plain with a deriver first", "$A\n/nix/store/x.drv\n0\n", []layering.Node{{Path: pathA}}, nil},
		{"hash in hexadecimal", "$A\n" + strings.Repeat("0f", 32) + "\n120\n\n0\n", []layering.Node{{Path: pathA, NarSize: 120}}, nil},
		{"cut after the path", "$A\n", nil, []string{"line 1", pathA, "ends too early"}},
		{"cut in the references", "$A\n\n2\n$A\n", nil, []string{"line 1", pathA, "line 4", "ends too early"}},
		{"huge count", "$A\n\n2147483647\n$A\n", nil, []string{"ends too early"}},
		{"count too large", "$A\n\n99999999999\n", nil, []string{"line 3", "number of references", `"99999999999"`}},
		{"count negative", "$A\n\n-1\n", nil, []string{"line 3", `"-1"`}},
		{"count empty", "$A\n\n\n", nil, []string{"line 3", `""`}},
		{"size is no number", "$A\n" + hash + "1k\n\n0\n", nil, []string{"line 3", "size", `"1k"`}},
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

func checkNodes(t *testing.T, got []layering.Node, err error, want []layering.Node, wantErr []string) {
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
func sameNodes(a, b []layering.Node) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Path != b[i].Path || a[i].NarSize != b[i].NarSize || len(a[i].References) != len(b[i].References) {
			return false
		}
		if len(a[i].References) > 0 && !reflect.DeepEqual(a[i].References, b[i].References) {
			return false
		}
	}
	return true
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

func TestInputIsBounded(t *testing.T) {
	_, err := ReadGraph("", endless(' '))
	wantError(t, err, "longer than 64 MiB")
	_, err = ReadRegistration("", endless('x'))
	wantError(t, err, "longer than 8192 bytes")
	r := newBoundedReader(endless('x'), 1<<20)
	if n, err := io.Copy(io.Discard, r); n > 1<<20 || err == nil {
		t.Errorf("read %d bytes of at most %d, %v", n, 1<<20, err)
	}
	r = newBoundedReader(strings.NewReader("1234"), 4)
	if b, err := io.ReadAll(r); string(b) != "1234" || err != nil {
		t.Errorf("read %q, %v of what is as long as the bound", b, err)
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
	registration := "$B\nsha256:x\n7\n\n2\n$A\n$B\n$A\nsha256:x\n120\n\n0\n"
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
		before := time.Now()
		_, err := ReadClosureFile("", test.path)
		wantError(t, err, test.want, filepath.Base(test.path))
		if d := time.Since(before); d > 5*time.Second {
			t.Errorf("%s: refused after %v", test.path, d)
		}
	}
}

// checkWhole fails unless nodes are what a reader may return.
func checkWhole(t *testing.T, nodes []layering.Node) {
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
	f.Add(fill(`[{"path":"$A","references":["/nix/store/../x"],"narSize":1e3}]`))
	f.Fuzz(func(t *testing.T, in string) {
		if nodes, err := ReadGraph("", strings.NewReader(in)); err == nil {
			checkWhole(t, nodes)
		}
	})
}

func FuzzReadRegistration(f *testing.F) {
	f.Add(fill("$B\nsha256:x\n7\n\n2\n$A\n$B\n$A\nsha256:x\n120\n\n0\n"))
	f.Add(fill("$B\n\n2\n$A\n$B\n$A\n/nix/store/x.drv\n0\n"))
	f.Add(fill("$A\n\n99\n"))
	f.Fuzz(func(t *testing.T, in string) {
		nodes, err := ReadRegistration("", strings.NewReader(in))
		if err != nil {
			return
		}
		checkWhole(t, nodes)
		again, err := ReadRegistration("", strings.NewReader(registrationText(nodes)))
		if err != nil || !sameNodes(again, nodes) {
			t.Errorf("%v comes back as %v, %v", nodes, again, err)
		}
	})
}

// registrationText writes nodes as closureInfo does.
func registrationText(nodes []layering.Node) string {
	var b strings.Builder
	for _, n := range nodes {
		fmt.Fprintf(&b, "%s\nsha256:x\n%d\n\n%d\n", n.Path, n.NarSize, len(n.References))
		for _, ref := range n.References {
			fmt.Fprintln(&b, ref)
		}
	}
	return b.String()
}
