// Package hostile makes bad images: tars, docker-archives, OCI layouts and stacks
// of layers, each with what a reader has to do with it.
//
// Guarantees:
//
//   - Its output depends on nothing but its code, and is made without the
//     packages that are to read it.
//   - A case to be refused names texts that the error has to contain: the entry
//     or field, quoted, and the reason.
//
// The packages that read images take the cases as seeds of their fuzz targets;
// the tests of the command line run each of them through every command that
// reads images. Only tests import this package.
package hostile
