// Package protocol defines what the processes of a run step say to each other.
//
// There are three, all of them this program, besides those that the step starts:
//
//   - The caller's (package userns) makes the namespaces. It sends a Config and the
//     tree, and reads the layer of changes and a Report.
//   - The first process of the namespaces (package first) sends the Order to run
//     the step's program to a process that waits for it.
//   - That process (package program) sends News, until it is the step's program.
package protocol
