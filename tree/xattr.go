package tree

import "strings"

// capabilityXattr holds a file's capabilities.
const capabilityXattr = "security.capability"

// keepXattr tells whether an extended attribute belongs into an image:
// capabilities and what users set. Labels of the build host's security module
// and what overlayfs reads (user.overlay.*) do not.
func keepXattr(name string) bool {
	if strings.HasPrefix(name, "user.overlay.") {
		return false
	}
	return name == capabilityXattr || strings.HasPrefix(name, "user.")
}
