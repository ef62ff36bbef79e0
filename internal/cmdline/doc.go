// Package cmdline has the mechanics of a command line, independent of images:
// what cobra and pflag leave to a program that speaks to people.
//
// Guarantees:
//
//   - Help, completion and manual pages say the same about a flag: they are made
//     from its declaration. Help lists flags in groups, in the order of their
//     declaration.
//   - A wrong command, argument or flag is a [UsageError] that names the next
//     step, and suggests the likely word if there is one.
//   - A shell that asks for completions waits a second at most.
//   - The first signal ends a command in good order, the next one at once.
//     Reading standard input does not outlast the command.
//
// Non-goals: which commands and flags there are, exit codes, and how errors are
// printed. Nothing here ends the process.
package cmdline
