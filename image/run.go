package image

import (
	"fmt"
	"slices"
	"strings"

	"github.com/varve-image/varve/image/ordjson"
)

// runFields are the fields that say how a container runs (OCI image-spec, config.md,
// and Docker's container config). Docker takes them in any case.
var runFields = []string{
	"User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal", "Memory", "MemorySwap", "CpuShares",
	"Healthcheck", "ArgsEscaped", "OnBuild", "Shell", "StopTimeout", "Hostname", "Domainname", "AttachStdin", "AttachStdout", "AttachStderr",
	"Tty", "OpenStdin", "StdinOnce", "Image", "NetworkDisabled", "MacAddress",
}

// commandFields are lists for which Docker also accepts a string, as a list of one.
var commandFields = []string{"Entrypoint", "Cmd", "Shell"}

// Run returns how a container of the image runs: the config's field "config", as Docker reads
// it. Its fields have their usual names, whatever case they are stored in. Of a field that is
// there twice the last counts, and of objects all members. A string for a command becomes a list
// of one. Run returns nil where the config says nothing.
func (img *Stored) Run() (*ordjson.Object, error) { return runOf(img.Config) }

func runOf(config *ordjson.Object) (*ordjson.Object, error) {
	stored, err := config.Object("config")
	if err != nil || stored == nil {
		return nil, err
	}
	run := &ordjson.Object{}
	for _, m := range stored.Members {
		key := m.Key
		if i := slices.IndexFunc(runFields, func(f string) bool { return strings.EqualFold(f, key) }); i >= 0 {
			key = runFields[i]
		}
		had, _ := run.Get(key)
		run.Set(key, both(had, m.Value))
	}
	listCommands(run)
	return run, nil
}

// both returns what Docker makes of a field that is there twice.
func both(first, last any) any {
	a, ok := first.(*ordjson.Object)
	b, isObject := last.(*ordjson.Object)
	if !ok || !isObject {
		return last
	}
	merged := &ordjson.Object{Members: slices.Clone(a.Members)}
	for _, m := range b.Members {
		merged.Set(m.Key, m.Value)
	}
	return merged
}

// listCommands turns strings for commands into lists, and reports whether there were any.
func listCommands(run *ordjson.Object) (changed bool) {
	for i, m := range run.Members {
		if text, ok := m.Value.(string); ok && slices.ContainsFunc(commandFields, func(f string) bool { return strings.EqualFold(f, m.Key) }) {
			run.Members[i].Value, changed = []any{text}, true
		}
	}
	return changed
}

// OCIConfig returns a config as an OCI manifest may have it: strings for commands, which only
// Docker accepts, become lists. Any other config is returned as it is.
func OCIConfig(data []byte) ([]byte, error) {
	config, err := ordjson.ParseObject(data)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	run, err := config.Object("config")
	if err != nil || run == nil || !listCommands(run) {
		return data, nil
	}
	return ordjson.Marshal(config)
}
