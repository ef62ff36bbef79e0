// Package fakeroot lets a step change owners, special modes, devices, extended attributes
// and who it is, although it has a single user and group for the kernel.
//
// Guarantees:
//
//   - Calls that would fail for that single user, or would reveal what is on disk, are
//     answered from records; the kernel answers all others. The model is root in
//     a container that has all ids.
//   - A process that has become someone else may do what that user may.
//   - What a step can have recorded is limited, in files, attributes, credentials and
//     watches: a call that needs more fails.
//   - Paths of calls never lead to what this process has, and never reveal where on the
//     machine a file is.
//
// Non-goals: it is not a security boundary. By racing against it, a step can have other
// owners recorded for its own files than it asked for, and no more.
//
// All of it runs in the first process of a step's namespaces, where one call is answered at
// a time. That process makes Records before it unpacks the tree, an Emulator once
// everything is mounted, and puts the step's program under the Emulator's Filter. Calls get
// here in one of two Ways, or in both: Listen answers notifications, in a goroutine, and
// Resume answers for threads that have stopped for their tracer, on the thread that traces
// them. In the end the Records say what each file becomes in a layer.
package fakeroot
