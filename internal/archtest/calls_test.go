package archtest

import (
	"fmt"
	"go/ast"
	"path"
	"strconv"
)

// checkCalls returns the forbidden functions that a file mentions.
func checkCalls(s source) []string {
	var problems []string
	locals := map[string]string{}
	for _, spec := range s.file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return []string{fmt.Sprintf("%s: import path %s: %v", s.name, spec.Path.Value, err)}
		}
		local := path.Base(imported)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		locals[local] = imported
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && locals[x.Name] != "" {
			if why := forbidden(s, locals[x.Name]+"."+sel.Sel.Name); why != "" {
				problems = append(problems, fmt.Sprintf("%s: %s.%s: %s", s.name, x.Name, sel.Sel.Name, why))
			}
		}
		return true
	})
	return problems
}

// forbidden returns why a file may not use a function, or "". Timers are not
// clocks, and the location of temporary files and programs (os.TempDir,
// exec.LookPath) reaches no output.
func forbidden(s source, function string) string {
	if function == "archive/tar.FileInfoHeader" {
		return "it copies the host's names and times"
	}
	if s.test || isTool(s.pkg) || testOnly[s.pkg] {
		return ""
	}
	switch function {
	case "os.Exit", "syscall.Exit", "golang.org/x/sys/unix.Exit", "runtime.Goexit":
		if s.pkg != "cmd/varve" && s.pkg != "" { // varve.Init is main's first call
			return "only main ends the process"
		}
	case "time.Now", "time.Since", "time.Until":
		if !frontends[s.pkg] && s.pkg != stopwatch {
			return "a library does not read the clock: time is passed in"
		}
	case "syscall.Gettimeofday", "syscall.Time",
		"golang.org/x/sys/unix.Gettimeofday", "golang.org/x/sys/unix.Time", "golang.org/x/sys/unix.ClockGettime":
		if !kernelClock[s.pkg] {
			return "a library does not read the clock: time is passed in"
		}
	case "time.Local", "time.LoadLocation":
		return "times are UTC, whatever the machine's time zone"
	}
	if machine[function] && !environment[s.pkg] && !(s.pkg == keys && function == uname) {
		return "only the command line reads the environment"
	}
	return ""
}

// keys may ask which kernel steps see: what it is told goes into no output.
const (
	keys  = "internal/sandbox/remember"
	uname = "golang.org/x/sys/unix.Uname"
)

// machine holds the functions that read or change the process's environment, or
// reveal its owner or its machine.
var machine = func() map[string]bool {
	all := map[string]bool{
		"os.UserHomeDir": true, "os.UserCacheDir": true, "os.UserConfigDir": true, "os.Hostname": true,
		"os.LookupEnv": true, "os.ExpandEnv": true, "os/user.Current": true, uname: true,
	}
	for _, pkg := range []string{"os", "syscall", "golang.org/x/sys/unix"} {
		for _, name := range []string{"Getenv", "Environ", "Setenv", "Unsetenv", "Clearenv"} {
			all[pkg+"."+name] = true
		}
	}
	return all
}()
