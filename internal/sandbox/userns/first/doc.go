// Package first is the first process of a step's namespaces.
//
// It is told once what to do, and reports once how that went; see package protocol.
// Meanwhile it
//
//   - starts the process that is to become the step's program (package program), while
//     it can;
//   - unpacks the tree (worktree), mounts what the step is to see, and hides
//     the rest of the machine;
//   - runs the program, answers calls of the step's processes (fakeroot), and watches
//     what they use (limits);
//   - ends them all with the program, and sends what has changed in the tree.
//
// It keeps all capabilities over the namespaces. No process of the step can look into it,
// and no signal of the step's ends it. When it ends, however that comes, the kernel ends
// all others.
//
// What the step may have written is resolved only where it can lead no further than the
// step may go: through open directories, or below a root directory that is the step's own,
// and never through the links of /proc, which lead to what this process has.
package first
