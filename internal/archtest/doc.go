// Package archtest holds the tests of the architecture: which package may
// import which, and what only some of them may do.
//
// Guarantees, for every file whatever its build tags:
//
//   - A package imports only the project's packages that its line in allowed
//     gives it, and a new package without a line fails.
//   - What only tests use is imported by tests alone.
//   - Only main ends the process; only the command line and the user interface
//     know terminals, signals and flags; no library reads the environment, and none
//     but a stopwatch the clock, so that neither can reach an output.
//   - archive/tar's FileInfoHeader, which copies the host's names and times, is
//     called nowhere.
//
// Non-goals: what tests import, as long as no cycle comes of it.
package archtest
