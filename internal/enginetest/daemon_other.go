//go:build !linux

package enginetest

import "syscall"

// dieWithParent has no effect here: need refuses engines beforehand.
func dieWithParent() *syscall.SysProcAttr { return nil }
