// Package spec reads the description of an image: a dockerTools attribute set
// written as YAML or JSON.
//
// Guarantees:
//
//   - Strict: an unknown, repeated or differently capitalised field, a value of
//     the wrong kind and a value out of range are errors, never ignored. Config
//     is an exception: its unknown keys are kept, since engines define their
//     own.
//   - All errors of an input are reported together, in the order of its lines,
//     each with file, line, column and field.
//   - Numbers mean what was written: file modes are read from the text, always
//     as octal; ids are decimal; nothing passes through a float.
//   - One decoder serves YAML, JSON and command line settings, so that each
//     value is checked alike whichever way it comes.
//   - Hostile input costs limited time and memory: at most MaxSize bytes are
//     read, MaxDepth levels followed and MaxErrors errors kept.
//   - The result is a function of the input and Options alone; only where Dir
//     or SettingsDir is not absolute does the working directory count.
//
// YAML is accepted without references and types: anchors, aliases, merge keys
// and tags are refused, and so is a second document. JSON is read by a JSON
// reader, so that tabs and \ud83d\ude00 mean what they mean in JSON.
//
// Non-goals: looking at the files that a spec names, resolving defaults that
// depend on the machine or the environment (architecture, SOURCE_DATE_EPOCH),
// and expanding variables.
package spec
