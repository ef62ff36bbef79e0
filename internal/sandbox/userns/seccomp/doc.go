// Package seccomp makes the filter of system calls that every step runs under.
//
//   - It refuses what reaches out of the sandbox, by what kernels have been
//     attacked, what makes the kernel keep things that no limit counts, and each
//     call that is newer than the lists.
//   - Where programs have another way, the call is one that the kernel seems not to
//     know.
//   - All else is the kernel's, but for the rules that others add: those who
//     answer calls themselves.
package seccomp
