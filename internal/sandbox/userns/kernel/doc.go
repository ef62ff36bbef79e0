// Package kernel has what several processes of a run step ask of Linux, and say where it
// is refused.
package kernel
