package tree

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

func TestSymlinkJoin(t *testing.T) {
	root := t.TempDir()
	writeTree(t, filepath.Join(root, "one"), "bin/tool=x", "share/d/", "link -> bin", "abs -> /etc")
	writeTree(t, filepath.Join(root, "two"), "bin/other=y", "bin/tool=z")
	if err := os.Chmod(filepath.Join(root, "one/share/d"), 0o700); err != nil {
		t.Fatal(err)
	}
	sources := []JoinSource{{"/nix/store/one", filepath.Join(root, "one")}, {"/nix/store/two", filepath.Join(root, "two")}}
	trees, err := SymlinkJoin(context.Background(), sources)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Merge(context.Background(), MergeOptions{Conflicts: ConflictFirst}, trees...)
	wantError(t, err)
	wantDump(t, got, `
. 5 0755 0:0 implied
abs 2 0777 0:0 -> /etc
bin 5 0755 0:0 implied
bin/other 2 0777 0:0 -> /nix/store/two/bin/other
bin/tool 2 0777 0:0 -> /nix/store/one/bin/tool
link 2 0777 0:0 -> bin
share 5 0755 0:0 implied
share/d 5 0755 0:0 implied
`)
	_, err = Merge(context.Background(), MergeOptions{}, trees...)
	wantError(t, err, `"bin/tool": symlinks to "/nix/store/one/bin/tool" and "/nix/store/two/bin/tool"`, filepath.Join(root, "one/bin/tool"))

	_, err = SymlinkJoin(context.Background(), append(sources,
		JoinSource{"/nix/store/file", filepath.Join(root, "one/bin/tool")}, JoinSource{"/nix/store/none", filepath.Join(root, "none")}))
	wantError(t, err, `link to the files of "/nix/store/file"`, "is a regular file, not a directory", `link to the files of "/nix/store/none"`, "no such file")
}
