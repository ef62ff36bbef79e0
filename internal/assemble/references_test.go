package assemble

import (
	"io"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/varve-image/varve/tree"
)

// textFile returns a file of a tree.
func textFile(name, text string) *tree.Entry {
	return &tree.Entry{Path: name, Type: tree.Regular, Size: int64(len(text)), Content: tree.OpenFunc(func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(text)), nil
	})}
}

func TestReferences(t *testing.T) {
	const twin = "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-app-1.0-doc"
	app, bash, libc := path.Base(appPath), path.Base(bashPath), path.Base(libcPath)
	link := func(name, target string) *tree.Entry {
		return &tree.Entry{Path: name, Type: tree.Symlink, Linkname: target}
	}
	dir := func(name string) *tree.Entry { return &tree.Entry{Path: name, Type: tree.Dir} }
	for _, tt := range []struct {
		name string
		tree []*tree.Entry
		want []string
	}{
		{"nothing", []*tree.Entry{dir("."), textFile("a", "text")}, nil},
		{"a file's name", []*tree.Entry{textFile("gcroots/"+bash, "")}, []string{bashPath}},
		{"a directory's name", []*tree.Entry{dir("gcroots/" + bash)}, []string{bashPath}},
		{"a symlink's name and text", []*tree.Entry{link("x-"+bash, libcPath)}, []string{bashPath, libcPath}},
		{"content", []*tree.Entry{textFile("a", "see "+libcPath+"/lib")}, []string{libcPath}},
		{"several", []*tree.Entry{textFile("a", libc), dir("b"), textFile("c", bash)}, []string{bashPath, libcPath}},
		{"of one hash", []*tree.Entry{textFile("a", app)}, []string{appPath, twin}},
		{"the hash alone", []*tree.Entry{textFile("a", strings.Repeat("b", 32))}, []string{bashPath}},
		{"across two files", []*tree.Entry{textFile("x", libc[:20]), textFile("y", libc[20:])}, nil},
		{"across a name and its text", []*tree.Entry{link("cccccccccccc", libc[12:])}, nil},
		{"across two names", []*tree.Entry{dir("cccccccccccc"), dir("cccccccccccccccccccc")}, nil},
		{"across a name and content", []*tree.Entry{textFile("cccccccccccc", libc[12:])}, nil},
		{"across content and a name", []*tree.Entry{textFile("x", libc[:12]), dir(libc[12:])}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			refs, err := newReferences("/nix/store", []string{appPath, twin, bashPath, libcPath})
			if err != nil {
				t.Fatal(err)
			}
			got, err := refs.inTree(t.Context(), tt.tree)
			if err != nil || !slices.Equal(sorted(got), tt.want) {
				t.Errorf("found %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

// TestReferencesOfImage: what only a name in the top layer or in an explicit
// one mentions is in the image, with all of its closure.
func TestReferencesOfImage(t *testing.T) {
	const twin = "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-app-1.0-doc"
	dir := makeFiles(t, smallStore(map[string]string{
		"root" + twin + "/doc":               "doc",
		"top/gcroots/" + path.Base(bashPath): "",
		"split/a":                            "x" + strings.Repeat("c", 20),
		"split/b":                            strings.Repeat("c", 12) + "-libc-2",
		"both/hash":                          strings.Repeat("a", 32),
	}))
	for copied, want := range map[string][]string{
		"top":   {"store " + libcPath, "store " + bashPath, "tree"},
		"split": {"tree"},
		"both":  {"store " + twin, "store " + libcPath, "store " + bashPath, "store " + appPath, "tree"},
	} {
		t.Run(copied, func(t *testing.T) {
			wantPlan(t, mustBuild(t, dir, "name: a\ncopyToRoot: ["+copied+"]\n"), want...)
		})
	}
	wantPlan(t, mustBuild(t, dir, "name: a\nlayers: [{copyToRoot: [top]}]\n"), "tree "+libcPath+" "+bashPath, "tree")
	wantPlan(t, mustBuild(t, dir, "name: a\ncopyToRoot: [top]\nincludeStorePaths: false\n"), "tree")
}
