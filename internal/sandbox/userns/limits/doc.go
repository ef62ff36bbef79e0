// Package limits keeps a step within its limits of memory, disk and processes.
//
// Guarantees:
//
//   - The step's usage is checked again and again, sooner the nearer a limit is,
//     and where it exceeds the limit all of the step's processes are ended.
//   - What cannot be looked at counts as too much, unless it has gone: it never
//     counts as nothing.
//   - Memory includes, besides the processes' own and shared memory, what
//     the kernel keeps for them without a limit: page tables, mappings, stacks and
//     filters of threads, open files and what is in pipes and sockets, objects of
//     System V, locks, terminals.
//   - What is not counted, the kernel limits: pending signals, timers and POSIX message
//     queues by Set, packets being reassembled by 4 MiB; a step cannot have keys or AIO.
//   - What nobody can look at is limited by its growth on the whole machine since before
//     the step (see growth).
//
// Non-goals: the limits of time and output are up to the caller, who sees both.
//
// A Watch runs in the first process of a step's namespaces, and counts all processes but
// that one. The process that is to become the step's program calls Set; the first process
// calls Seal for it, so that its own limits stay high.
package limits
