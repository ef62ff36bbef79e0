package remember

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// key stands for all that a step's result depends on.
type key struct {
	sum digest.Digest
	// changed is when the last of the files was changed that a stamp stands for, in nanoseconds
	// since 1970.
	changed int64
}

// The errors for what cannot be stated.
var (
	errNetwork = errors.New("it has a network")
	errInput   = errors.New("it has an input")
)

// keyOf returns the key of a step, or why there is none.
func keyOf(ctx context.Context, r sandbox.Runner, step *sandbox.Step, opts Options) (key, error) {
	switch {
	case step.Network != sandbox.NetworkNone:
		return key{}, errNetwork
	case step.Stdin != nil || step.Terminal != nil:
		return key{}, errInput
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "varve step %d layer %s %q isolation %q\n", sandbox.RunnerVersion, layer.FormatVersion, step.Name, opts.Isolation)
	// Limits are left out: a step either reaches one and fails, or does not notice them.
	fmt.Fprintf(sum, "%d %q %q %q %q %v %q %v\n", step.Root, step.WorkDir(), step.Argv, step.Script, step.Env, step.FakeRoot, step.Tools, step.VM)
	if err := writeMachine(sum); err != nil {
		return key{}, err
	}
	changed, err := writeTree(ctx, sum, step.Tree, opts.Base)
	if err != nil {
		return key{}, err
	}
	last, err := writeVisible(ctx, sum, r, step, opts)
	if err != nil {
		return key{}, err
	}
	return key{digest.NewDigest(digest.SHA256, sum), max(changed, last)}, nil
}

// writeMachine writes what steps see of the kernel, and whose files they may read.
func writeMachine(w io.Writer) error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("ask for the kernel's name: %w", err)
	}
	groups, err := os.Getgroups()
	if err != nil {
		return fmt.Errorf("ask for this user's groups: %w", err)
	}
	slices.Sort(groups)
	for _, ids := range []string{"/proc/self/uid_map", "/proc/self/gid_map"} {
		text, err := os.ReadFile(ids)
		if err != nil {
			return fmt.Errorf("ask for this user's namespace: %w", err)
		}
		fmt.Fprintf(w, "%q\n", text)
	}
	_, err = fmt.Fprintf(w, "%s %q %q %q user %d:%d %v\n", runtime.GOARCH, unix.ByteSliceToString(name.Release[:]),
		unix.ByteSliceToString(name.Version[:]), unix.ByteSliceToString(name.Machine[:]), os.Geteuid(), os.Getegid(), groups)
	return err
}

// writeTree writes what a tree holds. Files of the base need no reading: its layers say what they
// are.
func writeTree(ctx context.Context, w io.Writer, entries []*tree.Entry, base Base) (changed int64, err error) {
	names := sha256.New()
	theirs := map[*tree.Entry]bool{}
	rest := base.Entries
	for _, e := range entries {
		for len(rest) > 0 && tree.Compare(rest[0].Path, e.Path) < 0 {
			rest = rest[1:]
		}
		if len(rest) > 0 && rest[0] == e {
			fmt.Fprintf(names, "%s\x00", e.Path)
			theirs[e] = true
		}
	}
	all, changed, err := layer.Key(ctx, tree.All(entries), func(e *tree.Entry) bool { return theirs[e] })
	if err != nil {
		return 0, err
	}
	layers := base.DiffIDs
	if len(theirs) == 0 {
		layers = nil
	}
	_, err = fmt.Fprintf(w, "tree %s base %q %d %x\n", all, layers, len(theirs), names.Sum(nil))
	return changed, err
}
