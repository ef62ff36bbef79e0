// Package dockertools does what the functions of nixpkgs' dockerTools do, for the commands that
// do the same and for the derivations of varve's Nix expressions, which BuildDerivation builds.
//
//   - conf.json of streamLayeredImage: ParseConf and Conf.Image read it, ConfJSON writes it. A
//     program is a conf.json that names varve as its interpreter.
//   - streamNixShellImage: NixShell.
//   - buildLayer: WriteLayer, whose directory specs name in layers.
//   - pullImage: Pull, and Prefetch and Hash for its arguments.
//   - exportImage and mergeDrvs: Export, MergeTrees.
//   - mergeImages is package transfer's Merge; runWithOverlay is only a derivation.
//
// Guarantees:
//
//   - The image of a conf.json that nixpkgs made has the bytes that nixpkgs' own streamer
//     gives it. An unknown field is an error: the image would come out wrong.
//   - What ConfJSON writes, ParseConf reads as the same image.
//   - The image of a derivation's environment has every input and none of its outputs.
//   - Pull writes the bytes that skopeo copy writes, so that hashes pinned for it hold.
//   - An error that another input fixes is an *InputError, or an error type of package spec,
//     assemble, place or treefile for that purpose.
//
// Non-goals: the command line, and how it reports the results; how images are built (package
// assemble), where they are (package place), and how they get there (package transfer).
package dockertools
