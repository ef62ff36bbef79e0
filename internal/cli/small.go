package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/spec"
)

func newTarsum(e *environment) *cobra.Command {
	c := newCommand(e)
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "tarsum < FILE.tar",
		Short: "Print Docker's TarSum (v1, sha256) of the tar on standard input",
		Args:  cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error {
			sum, err := layer.TarSum(ctx, c.stdin.In)
			if err != nil {
				return fmt.Errorf("standard input: %w", err)
			}
			if asJSON {
				return c.printJSON(struct {
					TarSum string `json:"tarSum"`
				}{sum})
			}
			return c.streams.Print(sum + "\n")
		}),
	}
	registerJSON(cmd, &asJSON, "print a JSON object")
	return cmd
}

// registerJSON adds the flag of the commands that print something; text says what JSON it is.
func registerJSON(cmd *cobra.Command, asJSON *bool, text string) {
	outputGroup.Add(cmd, func(f *pflag.FlagSet) { f.BoolVar(asJSON, "json", false, text) })
}

// printJSON prints a value as every command with --json does.
func (c *command) printJSON(v any) error {
	return c.streams.PrintJSON(json.MarshalIndent(v, "", "    "))
}

func newSchema(e *environment) *cobra.Command {
	c := newCommand(e)
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the image spec",
		Long: `schema prints the JSON Schema of the image spec. Editors use it if the spec
begins with a line such as
  # yaml-language-server: $schema=varve.schema.json`,
		Args: cobra.NoArgs,
		RunE: c.run(func(context.Context, []string) error { return c.streams.Print(string(spec.Schema())) }),
	}
}

// version is the release; the linker sets it.
var version string

func newVersion(e *environment) *cobra.Command {
	c := newCommand(e)
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of varve and of the layer format",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return c.printJSON(struct {
					Version     string `json:"version"`
					LayerFormat string `json:"layerFormat"`
					Go          string `json:"go"`
					Platform    string `json:"platform"`
				}{versionText(), fmt.Sprint(layer.FormatVersion), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH})
			}
			return c.streams.Print(fmt.Sprintf("varve %s\nlayer format %s\n%s %s/%s\n",
				versionText(), layer.FormatVersion, runtime.Version(), runtime.GOOS, runtime.GOARCH))
		},
	}
	registerJSON(cmd, &asJSON, "print a JSON object")
	return cmd
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
