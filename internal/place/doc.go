// Package place knows where images are and where they go: it reads references as
// they are written on the command line and in specs, and makes an image.Source
// or an image.Target of each.
//
// A new kind of place is a package below this one, with a source and a target,
// and a line in the table of transports.
//
// Guarantees:
//
//   - A reference means the same wherever it is used: one grammar, Parse.
//   - Nothing is opened, and no engine or registry is contacted, before an image
//     is read or written.
//   - What is wrong with a reference as it is written is a *RefError, which says
//     what to write instead where that is known.
//
// Non-goals: choosing among a place's images (package image does); reading the
// environment, which Options has.
package place
