// Package fakeroot lets a step change owners, special modes, devices, extended
// attributes and who it is, though for the kernel it has a single user and group.
//
// Guarantees:
//
//   - Calls that would fail for that single user, or would tell what is on disk, are
//     answered from records; all others are the kernel's. The rule is what root sees in
//     a container that has all ids.
//   - A process that has become someone else may do what that one may.
//   - What a step can have recorded is bounded, in files, attributes, credentials and
//     watches: a call that needs more fails.
//   - No path of a call leads to what this process has, and none tells where on the
//     machine a file is.
//
// Non-goals: it is no boundary. What a step can do by racing against it is to have
// other owners recorded for its own files than it asked for.
//
// All of it runs in the first process of a step's namespaces, where one call is answered
// at a time. That process makes Records before it unpacks the tree, an Emulator once all
// is mounted, and puts the step's program under the Emulator's Filter. Calls get here in
// one of two Ways, or in both: Listen answers notifications, in a goroutine, and Resume
// answers for threads that have stopped for their tracer, on the thread that traces them.
// In the end the Records say what each file is to be in a layer.
package fakeroot
