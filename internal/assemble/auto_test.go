package assemble

import (
	"strings"
	"testing"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/spec"
)

// environmentPath is a store path that holds links to another one's files.
const environmentPath = "/nix/store/dddddddddddddddddddddddddddddddd-environment"

// environmentStore returns smallStore with an environment of app, and with a libc
// that is the largest path.
func environmentStore(more map[string]string) map[string]string {
	files := smallStore(map[string]string{
		"root" + environmentPath + "/bin/app": "-> " + appPath + "/bin/app",
		"root" + libcPath + "/lib/large":      strings.Repeat("l", 1<<16),
	})
	for name, text := range more {
		files[name] = text
	}
	return files
}

// TestAuto: a spec's layering divides the closure alone, and its contents are
// part of it.
func TestAuto(t *testing.T) {
	dir := makeFiles(t, environmentStore(nil))
	image := "name: a\ncontents: [" + environmentPath + "]\nlayering: auto\n"
	wantPlan(t, mustBuild(t, dir, image), "store "+libcPath, "store "+bashPath, "store "+appPath, "store "+environmentPath, "tree")
	wantPlan(t, mustBuild(t, dir, image+"maxLayers: 3\n"), "store "+libcPath, "store "+appPath+" "+bashPath+" "+environmentPath, "tree")
	wantPlan(t, mustBuild(t, dir, image+"layers: [{contents: "+bashPath+"}]\n"),
		"store "+appPath, "store "+environmentPath, "store "+libcPath+" "+bashPath, "tree")
	_, err := tryBuild(t, dir, image+"maxLayers: 1\n", Options{})
	wantSpecError(t, err, "maxLayers", "leaves none for store paths")
	wantPlan(t, mustBuild(t, dir, image+"layeringPipeline: [[popularity_contest], [limit_layers, 1]]\n"),
		"store "+libcPath+" "+bashPath+" "+appPath+" "+environmentPath, "tree")
}

// TestClosureRoots: contents are in the image as far as its top layer mentions
// them; roots of Nix's garbage collector count as mentions, too.
func TestClosureRoots(t *testing.T) {
	dir := makeFiles(t, environmentStore(map[string]string{"conf/etc/shell": bashPath + "/bin/bash", "empty/": ""}))
	image := "name: a\nclosureRoots: image\n"
	for text, want := range map[string][]string{
		"contents: [" + environmentPath + "]\n":                                    {libcPath, bashPath, appPath},
		"contents: [" + environmentPath + "]\nincludeNixDB: true\n":                {libcPath, bashPath, appPath, environmentPath},
		"contents: [" + environmentPath + "]\nincludeStorePaths: false\n":          {},
		"contents: [" + environmentPath + "]\nconfig: {Cmd: [" + bashPath + "]}\n": {libcPath, bashPath, appPath},
		"copyToRoot: conf\nlayering: auto\n":                                       {libcPath, bashPath},
		"copyToRoot: [" + environmentPath + ", conf]\nincludeNixDB: true\n":        {libcPath, bashPath, appPath, environmentPath},
		"layers: [{contents: [" + environmentPath + "]}]\n":                        {libcPath + " " + bashPath + " " + appPath},
		"layers: [{contents: [" + environmentPath + "], copyToRoot: conf}]\n":      {libcPath + " " + bashPath + " " + appPath},
	} {
		t.Run(text, func(t *testing.T) {
			r := mustBuild(t, dir, image+text)
			var got []string
			for _, l := range r.Layers {
				if len(l.Paths) > 0 {
					got = append(got, strings.Join(l.Paths, " "))
				}
			}
			if strings.Join(got, "|") != strings.Join(want, "|") {
				t.Errorf("%s has the layers %q, want %q", text, got, want)
			}
		})
	}
}

// TestImageNodes: the config and the top layer are in the graph with the archive
// sizes of what they are in nixpkgs' store. The sizes come from Nix.
func TestImageNodes(t *testing.T) {
	for _, tt := range []struct {
		config string
		want   uint64
	}{
		{`{}`, 168},
		{`{"Cmd":["hello"]}`, 176},
		{`{"Labels":{"é":"日本\n"}}`, 192},
	} {
		config, err := ordjson.ParseObject([]byte(tt.config))
		if err != nil {
			t.Fatal(err)
		}
		b := &builder{spec: &spec.Spec{Architecture: "amd64", OS: "linux", Config: config}}
		if got, err := b.configSize(); err != nil || got != tt.want {
			t.Errorf("%s: the size is %d, %v, want %d", tt.config, got, err, tt.want)
		}
	}
	if got := layerDirSize(10240); got != 10784 {
		t.Errorf("the size of a layer's directory is %d", got)
	}
}

// TestTopLayerTakesPart: what the top layer needs is divided by its size.
func TestTopLayerTakesPart(t *testing.T) {
	dir := makeFiles(t, environmentStore(map[string]string{"large/file": libcPath + strings.Repeat("x", 1<<20)}))
	image := "name: a\nlayering: auto\nclosureRoots: image\nmaxLayers: 3\nconfig: {Cmd: [" + appPath + "]}\n"
	// Without a large top layer libc is the first root, with one it shares a layer
	// with that.
	wantPlan(t, mustBuild(t, dir, image), "store "+libcPath, "store "+appPath+" "+bashPath, "tree")
	wantPlan(t, mustBuild(t, dir, image+"copyToRoot: large\n"), "store "+appPath+" "+bashPath, "store "+libcPath, "tree")
	// A closure by itself has no top layer.
	wantPlan(t, mustBuild(t, dir, strings.Replace(image, "image", "contents", 1)+"copyToRoot: large\n"),
		"store "+libcPath, "store "+appPath+" "+bashPath, "tree")
}

// TestAutoMeasures: sizes that are missing in the closure's file are measured.
func TestAutoMeasures(t *testing.T) {
	dir := makeFiles(t, environmentStore(map[string]string{"graph": strings.Join([]string{
		appPath, "", "2", libcPath, bashPath, bashPath, "", "1", libcPath, libcPath, "", "0", "",
	}, "\n")}))
	wantPlan(t, mustBuild(t, dir, "name: a\nclosure: graph\ncontents: ["+appPath+"]\nlayering: auto\nmaxLayers: 3\n"),
		"store "+libcPath, "store "+appPath+" "+bashPath, "tree")
}
