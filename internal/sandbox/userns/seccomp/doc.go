// Package seccomp makes the filter of system calls that every step runs under.
//
//   - It refuses calls that reach out of the sandbox, by which kernels have been
//     attacked, or that make the kernel keep things that no limit counts, and each
//     call that is newer than the lists.
//   - Where programs have an alternative, the kernel seems not to know the
//     call.
//   - All other calls go to the kernel, except by rules that others add: packages that
//     answer calls themselves.
package seccomp
