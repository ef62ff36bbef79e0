// Package procfs lists the processes of a step, as the first process of their namespace
// finds them in /proc. They come and go meanwhile: for one that has gone the error is one
// that Gone reports.
package procfs
