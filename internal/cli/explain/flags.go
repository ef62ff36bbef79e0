package explain

import (
	"fmt"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/place/registry"
	"github.com/varve-image/varve/internal/sandbox/vm"
	"github.com/varve-image/varve/internal/transfer"
)

// Flags names the flags for what a library refuses or warns of. Libraries have
// options, and do not know flags.
func Flags(err error) string {
	switch e := err.(type) { //nolint:errorlint // one error of a tree at a time
	case *registry.LoginError:
		return fmt.Sprintf(": log in with \"docker login %[1]s\" or \"podman login %[1]s\", or give --username and --password-stdin", e.Registry)
	case *registry.DistrustError:
		return flagForHost(e)
	case *transfer.NamelessError:
		return "; give it one with varve copy, to " + namedTarget(e)
	case *assemble.OwnerWarning:
		return fmt.Sprintf(" (--perm '/**::%d:%d')", e.UID, e.GID)
	}
	if err == assemble.ErrNetwork {
		return ": --allow-network lets them"
	}
	return ""
}

// namedTarget returns the destination as written with a name for the image.
func namedTarget(e *transfer.NamelessError) string {
	tag, at := "TAG", string(e.Transport)+":"
	if own := e.Names[0]; image.Tag("x:"+own) == own {
		tag = own
	}
	if e.Transport == place.DockerArchive || e.Transport == place.Archive {
		at += "FILE:"
	}
	return at + "NAME:" + tag
}

// flagForHost names the flag that allows speaking to an untrusted host.
func flagForHost(e *registry.DistrustError) string {
	switch e.Reason {
	case registry.DistrustHTTP:
		return fmt.Sprintf(": allow it with --insecure %s if nobody can listen in", e.Host)
	case registry.DistrustAnswer:
		return ": if it is a registry without https that nobody else can listen to, allow it with --insecure " + e.Host
	case registry.DistrustCertificate:
		return ": name its authority with a file of certificates, or allow any certificate with --insecure " + e.Host
	case registry.DistrustAddress:
		return "; allow it with --insecure " + e.Host
	case registry.DistrustPlainLogin:
		return ": have it use https, for which --insecure takes any certificate, or reach it at a loopback address, as through ssh -L"
	}
	return ""
}

// kernelHints say how to get a virtual machine a kernel.
func kernelHints(e *vm.KernelError) []string {
	switch e.Fault {
	case vm.KernelAbsent:
		return []string{"install a kernel, such as Debian's linux-image-cloud-amd64", "or name one with --vm-kernel"}
	case vm.KernelNamed:
		return []string{"name another kernel with --vm-kernel; its modules are looked for in lib/modules beside it"}
	case vm.KernelUnfit:
		return []string{"name another kernel with --vm-kernel"}
	}
	return nil
}
