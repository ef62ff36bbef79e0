//go:build amd64

package vm

import (
	"os/exec"
	"testing"
	"time"
)

// TestServeTime: a file that the host cannot read does not hold up the end of a virtual
// machine.
func TestServeTime(t *testing.T) {
	port, theirs, err := serialPort()
	must(t, err)
	defer theirs.Close()
	files, theirFiles, err := serialPort()
	must(t, err)
	defer theirFiles.Close()
	m := &machine{port: port, files: files, done: make(chan struct{}), served: make(chan struct{})}
	m.cmd = exec.Command("sleep", "1000")
	must(t, m.start())
	stopped := make(chan struct{})
	go func() { m.stop(); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(serveTime + 5*time.Second):
		t.Error("it does not stop")
	}
}
