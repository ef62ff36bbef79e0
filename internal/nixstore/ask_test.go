package nixstore

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestBatches(t *testing.T) {
	for _, tt := range []struct {
		paths string
		most  int
		want  string
	}{
		{"", 5, ""}, {"a", 5, "a"}, {"aa bb", 5, "aa bb"}, {"aa bbb", 5, "aa|bbb"}, {"a b c d", 5, "a b c|d"}, {"toolong a b", 5, "toolong|a b"}, {"a b", 0, "a|b"},
	} {
		var got []string
		for some := range batches(strings.Fields(tt.paths), tt.most) {
			got = append(got, strings.Join(some, " "))
		}
		if got := strings.Join(got, "|"); got != tt.want {
			t.Errorf("%q in lists of %d bytes: %q, want %q", tt.paths, tt.most, got, tt.want)
		}
	}
}

// TestAsk asks Nix in both ways, in one go and path by path.
func TestAsk(t *testing.T) {
	n := newNix(t)
	for _, v := range n.env {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	file := n.home + "/expression.nix"
	if err := os.WriteFile(file, []byte(expression), 0o644); err != nil {
		t.Fatal(err)
	}
	app := strings.TrimSpace(n.run("nix-build", "--no-out-link", file))
	paths := strings.Fields(n.run("nix-store", "-qR", app))
	want, err := ReadRegistration(n.storeDir(), strings.NewReader(n.run("nix-store", append([]string{"--dump-db"}, paths...)...)))
	if err != nil {
		t.Fatal(err)
	}
	byPath := func(infos []PathInfo) []string {
		var lines []string
		for _, info := range infos {
			lines = append(lines, info.Path+" "+info.NarHash.String()+" "+strings.Join(sortedSet(info.References), " "))
		}
		slices.Sort(lines)
		return lines
	}
	roots := []string{paths[0], paths[1], app}
	for _, most := range []int{maxArguments, 1} {
		a := asker{t.Context(), n.storeDir(), most}
		for name, ask := range map[string]func([]string) ([]PathInfo, error){"path-info": a.pathInfo, "dump": a.dump} {
			got, err := ask(roots)
			if err != nil || !reflect.DeepEqual(byPath(got), byPath(want)) {
				t.Errorf("%s, %d bytes at once: %q and error %v, want %q", name, most, byPath(got), err, byPath(want))
			}
		}
	}
	if got, err := Ask(t.Context(), n.storeDir(), nil); got == nil || len(got) != 0 || err != nil {
		t.Errorf("of no paths: %v and error %v, want none", got, err)
	}
}
