// Package dockertools does what the functions of nixpkgs' dockerTools do: its conf.json, and
// the images of nix-shell.
//
// Guarantees:
//
//   - The image of a conf.json that nixpkgs made has the bytes that nixpkgs' own streamer
//     gives it. A field that is not known is an error: the image would come out wrong.
//   - What ConfJSON writes, ParseConf reads as the same image.
//   - The image of a derivation's environment has every input of it and none of its outputs.
//   - An error that another input mends is an *InputError, a spec.Errors or an
//     *assemble.SpecError.
//
// Non-goals: the command line, and what it says of the results.
package dockertools
