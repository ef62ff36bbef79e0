// Package program is the process that becomes a step's program.
//
// The first process of the namespaces starts it while this program can still be found,
// and it waits: nobody can trace a program before it is there, and what it is told to run
// it may find only once its calls are answered. Then it takes from itself all that a step
// must not have, and becomes the program:
//
//   - limits, signals, files and keys of the caller are gone;
//   - so is every capability that a step's root has not, over what is in the namespace
//     alone, and none can be gained back;
//   - its system calls are filtered.
//
// Where the kernel does not run the program, it says why in words that help.
package program
