package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/spec"
)

func newTarsum(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "tarsum < FILE.tar",
		Short: "Print Docker's TarSum (v1, sha256) of the tar on standard input",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			sum, err := layer.TarSum(cmd.Context(), g.streams.In)
			if err != nil {
				return fmt.Errorf("standard input: %w", err)
			}
			return g.print(sum + "\n")
		},
	}
}

func newSchema(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the image spec",
		Long: `schema prints the JSON Schema of the image spec. Editors use it if the spec
begins with a line such as
  # yaml-language-server: $schema=varve.schema.json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return g.print(string(spec.Schema()))
		},
	}
}

// version is the release; the linker sets it.
var version string

func newVersion(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of varve and of the layer format",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return g.print(fmt.Sprintf("varve %s\nlayer format %s\n%s %s/%s\n",
				versionText(), layer.FormatVersion, runtime.Version(), runtime.GOOS, runtime.GOARCH))
		},
	}
}

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// print writes what was asked for to standard output.
func (g *global) print(text string) error {
	_, err := fmt.Fprint(g.streams.Out, text)
	if err != nil {
		return fmt.Errorf("write to standard output: %w", cmdline.OutputError(err))
	}
	return nil
}
