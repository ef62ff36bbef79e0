package ocilayout

import (
	"fmt"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
)

// TestRefNames: within a layout a name belongs to one image; an image's only name is not lost to
// another's tag.
func TestRefNames(t *testing.T) {
	names := func(repoTags, refNames string) image.Names {
		return image.Names{RepoTags: strings.Fields(repoTags), RefNames: strings.Fields(refNames)}
	}
	for want, images := range map[string][]image.Names{
		"app:1=1":                     {names("app:1", "")},
		"=v1":                         {names("", "v1")},
		"=v1 =v2":                     {names("", "v1 v2")},
		"app:1=v1":                    {names("app:1", "v1")},
		"app:1=1 =v1":                 {names("app:1", "1 v1")},
		"app:1=1 app:2=2 =v1":         {names("app:1 app:2", "v1")},
		"app:1=1; other:1=other:1":    {names("app:1", ""), names("other:1", "")},
		"app:1=app:1; =1":             {names("app:1", ""), names("", "1")},
		"app:1=1; =":                  {names("app:1", "1"), names("", "1")},
		"=v1; =":                      {names("", "v1"), names("", "v1")},
		"=v1; app:1=1; app:v1=app:v1": {names("", "v1"), names("app:1", ""), names("app:v1", "")},
	} {
		t.Run(want, func(t *testing.T) {
			table := newRefTable(images...)
			var got []string
			for i, n := range images {
				refs, err := n.References()
				if err != nil {
					t.Fatal(err)
				}
				var all []string
				for _, d := range table.named(v1.Descriptor{}, i, refs, "") {
					full := strings.TrimPrefix(d.Annotations[AnnotationName], "docker.io/library/")
					all = append(all, fmt.Sprintf("%s=%s", full, d.Annotations[v1.AnnotationRefName]))
				}
				got = append(got, strings.Join(all, " "))
			}
			if text := strings.Join(got, "; "); text != want {
				t.Errorf("%q, want %q", text, want)
			}
		})
	}
}
