package cli

import (
	"github.com/spf13/cobra"

	"github.com/varve-image/varve/internal/cli/specflags"
	"github.com/varve-image/varve/internal/cmdline"
)

// The headings under which help lists flags, in its order.
var (
	imageGroup    = cmdline.FlagGroup{Rank: 1, Title: "Image"}
	fileGroup     = cmdline.FlagGroup{Rank: 2, Title: "File"}
	configGroup   = cmdline.FlagGroup{Rank: 3, Title: "Config"}
	storeGroup    = cmdline.FlagGroup{Rank: 4, Title: "Store"}
	scriptGroup   = cmdline.FlagGroup{Rank: 5, Title: "Script"}
	outputGroup   = cmdline.FlagGroup{Rank: 6, Title: "Output"}
	registryGroup = cmdline.FlagGroup{Rank: 7, Title: "Registry and cache"}
	generalGroup  = cmdline.FlagGroup{Rank: 8, Title: "General"}
)

// specGroups are the headings for the flags that stand for fields of the spec.
var specGroups = specflags.Groups{
	Image: imageGroup, File: fileGroup, Config: configGroup, Store: storeGroup, Script: scriptGroup, Output: outputGroup,
}

// otherFlags maps other tools' names for flags to ours.
var otherFlags = map[string]string{
	"base": "from", "from-image": "from", "dest": "output", "destination": "output", "file": "output",
	"src": "copy", "source": "copy", "add": "copy", "port": "expose", "ports": "expose", "publish": "expose",
	"working-dir": "workdir", "workingdir": "workdir", "command": "cmd", "arch": "architecture", "environment": "env",
	"compress": "compressor", "compression": "compressor", "chmod": "perm", "chown": "perm", "tls-verify": "insecure", "creds": "username", "password": "password-stdin",
}

// program tells package cmdline what it has to know about varve.
func (e *environment) program() cmdline.Program {
	return cmdline.Program{
		General: generalGroup, OtherFlags: otherFlags,
		Values: map[string]cobra.CompletionFunc{
			"IMAGE": e.completeImage, "DEST": e.completeImage, "OS/ARCH[/VARIANT]": cmdline.Words(platformNames()...),
		},
	}
}
