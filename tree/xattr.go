package tree

import "strings"

// CapabilityXattr holds a file's capabilities.
const CapabilityXattr = "security.capability"

// KeepXattr reports whether an extended attribute belongs in an image:
// capabilities and what users set. Labels of the build host's security module
// and what overlayfs reads (user.overlay.*) do not.
func KeepXattr(name string) bool {
	if strings.HasPrefix(name, "user.overlay.") {
		return false
	}
	return name == CapabilityXattr || strings.HasPrefix(name, "user.")
}
