// Package worktree unpacks a step's tree into a directory, and collects its changes as a
// layer of an image.
//
// Guarantees:
//
//   - No file is found by a path that a step could have redirected.
//   - Each file that was written to, replaced or removed is in the layer, even if the
//     step has set its times back. Whiteouts are minimal.
//   - What has to be held in memory of a tree is limited, and so is the layer.
//
// Owners and everything else that is not on disk are in fakeroot's Records.
//
// It runs in the first process of a step's namespaces: before the step, and when all
// of the step's processes have ended.
package worktree
