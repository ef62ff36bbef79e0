// Package hybrid writes and reads archives that every engine takes: a docker-archive and an OCI
// layout in one tar. Docker since version 25 and containerd write such archives too.
//
// Guarantees:
//
//   - The members are, in this order: oci-layout, the directories blobs and blobs/sha256, for each
//     image its layers, its config and its manifest, then an index's blob, index.json and
//     manifest.json. Headers have only the owner 0:0, the modes 0644 and 0755, and the image's time.
//   - Layers are not compressed. Each is one member, which both halves list, and so is a config.
//     All layers are: compressed ones and those that are kept elsewhere are unpacked.
//   - A layer that is there twice is written once. Into a file, layers are written while they are
//     read for the first time.
//   - What is read is checked as packages dockerarchive and ocilayout do it. An image that both
//     halves have is read as the layout has it. A name that stands for different images in the
//     halves is an error.
//
// Non-goals: archives with compressed layers, or that are compressed.
package hybrid
