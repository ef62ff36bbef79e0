// Package procfs lists the processes of a step, as the first process of their
// namespace finds them in /proc. They come and go meanwhile: what has gone is an
// error that Gone reports.
package procfs
