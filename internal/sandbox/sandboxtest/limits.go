package sandboxtest

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/tree"
)

// testLimits: each limit ends a step, or the call that reaches it.
func testLimits(t *testing.T, s *suite) {
	base := With(Busybox(t), Probe(t))
	for _, c := range []struct {
		name, script string
		limits       sandbox.Limits
		word         string
	}{
		{"time", "sleep 1000", sandbox.Limits{Time: 500 * time.Millisecond}, "500ms"},
		{"output", "yes", sandbox.Limits{Output: 1 << 20}, "output"},
		{"memory", "for i in 1 2 3 4 5 6 7 8; do probe memory 32 private & done; wait", sandbox.Limits{Memory: 64 << 20}, "64 MiB of memory"},
		{"memory in files", "dd if=/dev/zero of=/dev/shm/x bs=1M count=100 2>/dev/null; sleep 100", sandbox.Limits{Memory: 64 << 20}, "64 MiB of memory"},
		{"disk", "for i in $(seq 1 100); do dd if=/dev/zero of=/f$i bs=1M count=4 2>/dev/null; done; sleep 100", sandbox.Limits{Disk: 32 << 20}, "32 MiB of disk"},
		{"disk of deleted files", "for i in 3 4 5; do eval \"exec $i>/f\"; rm /f; dd if=/dev/zero bs=1M count=20 2>/dev/null >&$i; done; sleep 100", sandbox.Limits{Disk: 32 << 20}, "32 MiB of disk"},
		{"disk of files that are only mapped", "probe disk 100 mapped", sandbox.Limits{Disk: 32 << 20}, "32 MiB of disk"},
		{"disk of files that were sent to nobody", "probe disk 100 sent", sandbox.Limits{Disk: 32 << 20}, "32 MiB of disk"},
		{"disk of files that are only run", "probe disk 100 program", sandbox.Limits{Disk: 32 << 20}, "32 MiB of disk"},
		{"disk of files that are moved out of the way", "mkdir w; cd w; probe away 100", sandbox.Limits{Disk: 64 << 20}, "64 MiB of disk"},
		{"disk of files that lie deep", "mkdir -p $(printf 'd/%.0s' $(seq 150)); cd $(printf 'd/%.0s' $(seq 150)); for i in 1 2 3; do dd if=/dev/zero of=f$i bs=1M count=20 2>/dev/null; done; sleep 100", sandbox.Limits{Disk: 32 << 20}, "32 MiB of disk"},
		{"some more processes", "for i in $(seq 1 70); do sleep 100 & done; sleep 100", sandbox.Limits{Processes: 60}, "60 processes"},
		{"holes in files", "for i in 1 2 3; do dd if=/dev/null of=/f$i bs=1M seek=20 2>/dev/null; done", sandbox.Limits{Disk: 32 << 20}, `32 MiB of disk: with its holes "f2" is 20 MiB`},
	} {
		t.Run(c.name, func(t *testing.T) {
			step := Script(base, c.script)
			step.Limits = c.limits
			s.reaches(t, step, c.word)
		})
	}
	t.Run("within all", func(t *testing.T) {
		// Of files that a descriptor leads to: memory that is shared without one counts with
		// all that the machine's other processes take meanwhile.
		step := Script(base, "dd if=/dev/zero of=/f bs=1M count=4 2>/dev/null; probe memory 16 private & probe memory 16 memfd & sleep 0.2; killall probe; rm /f")
		step.Limits = sandbox.Limits{Time: 10 * time.Minute, Memory: 64 << 20, Disk: 32 << 20, Processes: 100, Output: 1000}
		s.run(t.Context(), t, step).must(t)
	})
	t.Run("many more processes", func(t *testing.T) {
		step := Script(base, "for i in $(seq 1 200); do sleep 100 & done; exit 0")
		step.Limits.Processes = 60
		o := s.run(t.Context(), t, step)
		if o.err == nil {
			t.Errorf("200 processes where 60 are allowed")
		}
	})
}

// reaches checks that a step reaches a limit, which the error names; "" means any limit
// except that of time.
func (s *suite) reaches(t *testing.T, step *sandbox.Step, word string) {
	t.Helper()
	if step.Limits.Time == 0 {
		step.Limits.Time = 6 * time.Minute // otherwise a limit that is never reached would hang the test; an emulated machine takes its time
	}
	o := s.run(t.Context(), t, step)
	var limit *sandbox.LimitError
	if !errors.As(o.err, &limit) || word == "" && limit.Limit == sandbox.LimitTime || !strings.Contains(o.err.Error(), word) {
		t.Errorf("error %v\nstdout: %s\nstderr: %s", o.err, o.stdout, o.stderr)
	}
}

// testMemory: memory counts in whatever way a step keeps it, as root or not.
func testMemory(t *testing.T, s *suite) {
	base := With(Busybox(t), Probe(t))
	for i, way := range []string{
		"private", "shared", "memfd", "leaderless", "segments", "maps", "stacks", "tables", "connected", "locked away",
		"empty", "messages", "semaphores", "locks", "filters", "terminals", "descriptors", "numbers", "watches", "events", "polls", "information",
		"pipes", "pairs", "hung up", "datagrams", "loopback", "udp", "netlink", "passed", "passed twice", "not accepted", "passed on",
	} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			step := limited(base, "probe memory 100 '"+way+"'")
			step.FakeRoot = i%2 == 0 // makes no difference
			word := "64 MiB of memory"
			if way == "descriptors" {
				word = "" // a small machine runs out of them, and then nobody can look
			}
			s.reaches(t, step, word)
		})
	}
	// These are noticed by the growth of usage on the machine. They use more than the limit
	// by far, because others may free memory meanwhile.
	for _, way := range []string{"dropped", "trimmed", "only mapped", "program"} {
		t.Run(way, func(t *testing.T) { s.reaches(t, limited(base, "probe memory 400 '"+way+"'"), "64 MiB of memory") })
	}
	t.Run("temporary files", func(t *testing.T) {
		t.Parallel()
		step := limited(base, "")
		step.Argv, step.Root = []string{sandbox.TreeDir + "/bin/probe", "memory", "100", "temporary"}, sandbox.HostTools
		s.reaches(t, step, "64 MiB of memory")
	})
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		s.run(t.Context(), t, limited(base, "probe idle 300")).must(t)
	})
	for name, fakeRoot := range map[string]bool{"as root": true, "as a user": false} {
		t.Run("undumpable "+name, func(t *testing.T) {
			t.Parallel()
			step := limited(base, "probe undumpable idle 10")
			step.FakeRoot = fakeRoot
			s.run(t.Context(), t, step).must(t)
			step = limited(base, "probe undumpable memory 100 pairs")
			step.FakeRoot = fakeRoot
			s.reaches(t, step, "64 MiB of memory")
			step = limited(base, "cp /bin/probe /tmp/secret; chmod 111 /tmp/secret; exec /tmp/secret memory 100 memfd")
			step.FakeRoot = fakeRoot
			s.reaches(t, step, "64 MiB of memory")
		})
	}
	t.Run("what the kernel limits", func(t *testing.T) {
		t.Parallel()
		for what, most := range map[string]int{"pending": 8 << 10, "msgqueue": 800 << 10} {
			o := s.run(t.Context(), t, Script(base, "grep "+what+" /proc/self/limits")).must(t)
			words := strings.Fields(o.stdout) // name, soft limit, hard limit, unit
			if n, err := strconv.Atoi(words[len(words)-2]); err != nil || n > most {
				t.Errorf("the limit is %s, want at most %d", o.stdout, most)
			}
		}
	})
}

// limited returns a script step that may use 64 MiB of memory, of a machine that has much
// more.
func limited(entries []*tree.Entry, script string) *sandbox.Step {
	step := Script(entries, script)
	step.Limits.Memory, step.VM.Memory = 64<<20, 2<<30
	return step
}

// RunNetwork tests, in addition to the suite, runners that let steps have the machine's
// network: sockets count there, too.
func RunNetwork(t *testing.T, newRunner NewRunner) {
	s := &suite{newRunner}
	base := With(Busybox(t), Probe(t))
	for _, way := range []string{"pairs", "hung up", "datagrams", "loopback", "passed", "not accepted"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			step := limited(base, "probe memory 100 '"+way+"'")
			step.Network = sandbox.NetworkHost
			s.reaches(t, step, "64 MiB of memory")
		})
	}
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		step := limited(base, "probe idle 300")
		step.Network = sandbox.NetworkHost
		s.run(t.Context(), t, step).must(t)
	})
}

// testBlinding: a step does not go on if its usage cannot be looked at.
func testBlinding(t *testing.T, s *suite) {
	base := With(Busybox(t), Probe(t))
	for _, how := range []string{"soft", "hard"} {
		t.Run(how+", memory", func(t *testing.T) {
			step := limited(base, "probe blind "+how+" memory 100 private")
			s.reaches(t, step, "") // whichever limit is checked first
		})
		t.Run(how+", disk", func(t *testing.T) {
			step := Script(base, "probe blind "+how+" files 4000 empty; sleep 100")
			step.Limits.Disk = 1 << 20
			s.reaches(t, step, "")
		})
	}
}

// testEntries: each entry of the tree counts, whatever it is, and counts more the longer
// its path is.
func testEntries(t *testing.T, s *suite) {
	base := With(Busybox(t), Probe(t))
	for _, kind := range []string{"empty", "link", "name", "directory"} {
		for _, after := range []string{"", "; sleep 100"} {
			t.Run(kind+after, func(t *testing.T) {
				step := Script(base, "mkdir x; cd x; probe files 4000 "+kind+after)
				step.Limits.Disk = 1 << 20
				s.reaches(t, step, "1 MiB of disk")
			})
		}
	}
	// 300 of them count 150 kB for anything but names.
	deep := strings.Repeat(strings.Repeat("d", 200)+"/", 16)
	for kind, script := range map[string]string{
		"long names":   "mkdir -p " + deep + "; cd " + deep + "; for i in $(seq 300); do > $i; done",
		"long links":   "for i in $(seq 300); do ln -s " + deep + " $i; done",
		"renamed":      "mkdir d; for i in $(seq 300); do > d/$i; done; mkdir -p " + deep + "; mv d " + deep,
		"more of them": "mkdir -p " + deep + "; cd " + deep + "; > 0; for i in $(seq 300); do ln 0 $i; done",
	} {
		for _, after := range []string{"", "; sleep 100"} {
			t.Run(kind+after, func(t *testing.T) {
				step := Script(base, script+after)
				step.Limits.Disk = 1 << 20
				s.reaches(t, step, "1 MiB of disk")
			})
		}
	}
	t.Run("that are the base's", func(t *testing.T) {
		more := append(base, Dir("dirs", 0o755))
		for i := range 4000 {
			more = append(more, File("etc/"+strconv.Itoa(i), "", 0o644), Dir("dirs/"+strconv.Itoa(i), 0o755))
		}
		step := Script(With(more), "touch etc/x; sleep 0.2")
		step.Limits.Disk = 100 << 10
		s.run(t.Context(), t, step).must(t)
	})
}
