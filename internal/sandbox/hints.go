package sandbox

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// These match how shells and coreutils report the mistakes of scripts. The messages are in
// the locale C, which steps have.
const (
	// outsideText matches an absolute path that cannot be written to, or that exists
	// already.
	outsideText = `(?:^|[ '"])(/[^ '":]+)['"]?: (?:Read-only file system|Permission denied|File exists)$`
	// nowhereText matches a path whose directory does not exist.
	nowhereText = `cannot (?:create|touch|move|overwrite)\b.*[ '"](/[^ '":]+)['"]?: (?:No such file or directory|Directory nonexistent)$`
	// unknownText matches a command that does not exist.
	unknownText = `: ([A-Za-z_][A-Za-z0-9_]*): (?:command )?not found$`
)

// stdenvFunctions returns the functions of nixpkgs' stdenv, and of the hooks that
// expressions call most, which scripts run by dockerTools can use.
func stdenvFunctions() []string {
	return []string{
		"addEnvHooks", "addToSearchPath", "concatTo", "dumpVars", "exitHandler", "fixupPhase", "genericBuild", "getHostRole", "installBin", "installManPage",
		"installPhase", "installShellCompletion", "isELF", "isScript", "makeWrapper", "moveToOutput", "nixErrorLog", "nixLog", "nixWarnLog",
		"patchELF", "patchShebangs", "prependToVar", "appendToVar", "runHook", "runOneHook", "runPhase", "showBuildStats", "stopNest", "startNest", "stripHash", "substitute",
		"substituteAll", "substituteAllInPlace", "substituteInPlace", "substituteStream", "unpackFile", "unpackPhase", "updateAutotoolsGnuConfigScriptsPhase",
		"wrapProgram", "wrapProgramShell", "_addToEnv", "_eval",
	}
}

// Hints returns advice about a script that failed, based on the end of its output.
func (e *StepError) Hints() (hints []string) {
	outside, nowhere, unknown := regexp.MustCompile(outsideText), regexp.MustCompile(nowhereText), regexp.MustCompile(unknownText)
	for _, line := range e.LastLines {
		line = strings.TrimRight(line, "\r ")
		if m := slices.Concat(outside.FindStringSubmatch(line), nowhere.FindStringSubmatch(line)); m != nil && e.Root == HostTools && !inTree(m[1]) {
			hints = append(hints, relativeHint(m[1]))
		}
		if m := unknown.FindStringSubmatch(line); m != nil && slices.Contains(stdenvFunctions(), m[1]) {
			hints = append(hints, stdenvHint(m[1]))
		}
	}
	if len(e.LastLines) == 0 && e.Signal == 0 {
		hints = append(hints, "begin the script with set -x to see which of its commands fails")
	}
	slices.Sort(hints)
	hints = slices.Compact(hints)
	return hints[:min(len(hints), maxHints)]
}

// maxHints limits how many hints are returned.
const maxHints = 3

// inTree reports whether a path is in the tree that a script works on.
func inTree(path string) bool {
	return path == TreeDir || strings.HasPrefix(path, TreeDir+"/")
}

func relativeHint(path string) string {
	return fmt.Sprintf("%q is the machine's, not the image's: the script works in the image's tree, in the directory that it starts in: write %q, relative to that",
		path, strings.TrimLeft(path, "/"))
}

func stdenvHint(name string) string {
	instead := "do it in a derivation of its own, and name that in contents or copyToRoot"
	if strings.HasPrefix(name, "substitute") {
		instead = "use sed -i, or " + instead
	}
	return fmt.Sprintf("%s is a function of nixpkgs' stdenv, in which scripts do not run here: %s", name, instead)
}
