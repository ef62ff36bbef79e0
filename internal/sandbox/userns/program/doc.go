// Package program is the process that becomes a step's program.
//
// The first process of the namespaces starts it while this program can still be found, and
// it waits: only an existing process can be traced, and it may be able to find the program
// to run only once its calls are answered. Then it gives up everything that a step must not
// have, and becomes the program:
//
//   - limits, signals, files and keys of the caller are gone;
//   - so is every capability that a step's root does not have, over what is in the namespace
//     alone, and none can be gained back;
//   - its system calls are filtered.
//
// If the kernel does not run the program, its error explains why.
package program
