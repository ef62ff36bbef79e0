// Package limits keeps a step within its limits of memory, disk and processes.
//
// Guarantees:
//
//   - What the step uses is looked at again and again, sooner the nearer a limit is,
//     and where it is more than the limit all of the step's processes end.
//   - What cannot be looked at is too much, unless it has gone: it is never taken for
//     nothing.
//   - Of memory it counts, besides what the processes have of their own and share, what
//     the kernel keeps for them and does not bound: page tables, mappings, stacks and
//     filters of threads, open files and what is in pipes and sockets, objects of
//     System V, locks, terminals.
//   - What is not counted the kernel bounds: pending signals, timers and POSIX queues of
//     messages by Set, what is being fragmented by 4 MiB; a step cannot have keys or AIO.
//   - What nobody can look at is bounded by what the machine has more of it than before
//     the step (see growth).
//
// Non-goals: the limits of time and output are the caller's, who sees both.
//
// A Watch runs in the first process of a step's namespaces, and counts all processes but
// that one. The process that is to become the step's program calls Set; the first process
// calls Seal for it, so that its own limits stay high.
package limits
