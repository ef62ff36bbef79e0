package registry

import "path/filepath"

// AuthFiles returns the paths of Docker's and Podman's files of credentials that
// the environment names, in the order of Options.AuthFiles.
func AuthFiles(env func(name string) string) []string {
	var files []string
	add := func(variable string, rest ...string) {
		if dir := env(variable); dir != "" {
			files = append(files, filepath.Join(append([]string{dir}, rest...)...))
		}
	}
	add("REGISTRY_AUTH_FILE")
	add("XDG_RUNTIME_DIR", "containers", "auth.json")
	add("XDG_CONFIG_HOME", "containers", "auth.json")
	add("HOME", ".config", "containers", "auth.json")
	add("DOCKER_CONFIG", "config.json")
	add("HOME", ".docker", "config.json")
	return files
}
