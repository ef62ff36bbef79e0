// Package archtest holds the tests of the architecture: which package may import
// which, and what only some packages may do.
//
// Guarantees, for every file, whatever its build tags:
//
//   - A package imports only the project's packages that its line in arrows
//     allows. A package without a line fails, and so does an arrow that only
//     tests need.
//   - What only tests use is imported by tests alone.
//   - Importers can name every type that they see: no exported declaration of a
//     public package mentions one of internal/. (As compiled on this machine: files
//     for other systems are not checked.)
//   - Only main ends the process; only the command line and the user interface
//     use terminals, signals and flags; no library reads the environment or the time
//     zone, and only a stopwatch reads the clock, so that none of these can reach an output.
//   - archive/tar's FileInfoHeader, which copies the host's names and times, is
//     called nowhere.
//   - Functions have at most 60 lines and files 400, except in tests.
//
// Non-goals: what tests import, as long as that makes no cycle.
package archtest
