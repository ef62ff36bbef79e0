//go:build amd64 || arm64

package first

import (
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/varve-image/varve/internal/sandbox/userns/limits"
	"github.com/varve-image/varve/internal/sandbox/userns/protocol"
)

// spawn has the process at the gate become the step's program.
func (p *process) spawn() (int, error) {
	cfg := p.cfg
	if err := checkDir(cfg.Dir); err != nil {
		return 0, err
	}
	program, err := findProgram(cfg.Argv[0], cfg.Env)
	if err != nil {
		return 0, err
	}
	if err := checkProgram(program, cfg.Dir); err != nil {
		return 0, err
	}
	argv := cfg.Argv
	if cfg.Script != "" {
		argv = append(append([]string(nil), argv...), scriptName)
	}
	o := &protocol.Order{Program: program, Argv: argv, Env: cfg.Env, Dir: cfg.Dir, FakeRoot: cfg.FakeRoot, Limits: cfg.Limits}
	o.Listen = p.ways.Listens()
	o.Filter = p.emulator.Filter(p.ways)
	if p.ways.Traced() {
		if err := p.gate.trace(); err != nil {
			return 0, err
		}
	}
	p.gate.open(o, p.emulator)
	return p.gate.pid, limits.Seal(p.gate.pid, cfg.Limits)
}

// findProgram finds a program as execvp(3) does.
func findProgram(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	var dirs string
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, "PATH="); ok {
			dirs = value
		}
	}
	for dir := range strings.SplitSeq(dirs, ":") {
		if !path.IsAbs(dir) {
			continue
		}
		file := path.Join(dir, name)
		if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("the program %q is in none of the directories %q", name, dirs)
}
