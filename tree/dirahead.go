package tree

import (
	"fmt"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	// partNames is how many files are looked at in a row.
	partNames = 64
	// maxLookers limits how many goroutines look ahead for one walk.
	maxLookers = 4
	// minTasks is how much has to be there to do for them.
	minTasks = 4
	// How far they may be ahead: in directories, which are open, in names in these, and in files.
	// What one of them has begun may exceed it.
	maxOpenAhead  = 32
	maxNamesAhead = 1 << 14
	maxFilesAhead = 1 << 12
)

// task is a piece of a walk. Whoever needs it first does it.
type task interface {
	// take reports whether the caller has to do it, and begun whether somebody does.
	take() bool
	begun() bool
	do(l *looker)
	wait()
	// mayStart reports whether the limits allow it ahead of the walk.
	mayStart(a *lookAhead) bool
}

// turn is the part of a task that all have.
type turn struct {
	taken    atomic.Bool
	finished chan struct{}
}

func newTurn() turn         { return turn{finished: make(chan struct{})} }
func (t *turn) take() bool  { return t.taken.CompareAndSwap(false, true) }
func (t *turn) begun() bool { return t.taken.Load() }
func (t *turn) wait()       { <-t.finished }
func (t *turn) finish()     { close(t.finished) }

// dirTask lists a directory: its names, in parts.
type dirTask struct {
	turn
	parent            *directory
	name, source, rel string

	dir   *directory // open until left
	names int
	parts []*partTask
	err   error
}

// partTask looks at the files that have some of a directory's names.
type partTask struct {
	turn
	in    *dirTask
	names []string

	entries []*Entry
	below   []*dirTask // of those entries that are directories
	err     error      // follows the entries
}

// newDirTask describes the directory called name in parent; source is its path on disk, rel its
// path in the tree.
func newDirTask(parent *directory, name, source, rel string) *dirTask {
	return &dirTask{turn: newTurn(), parent: parent, name: name, source: source, rel: rel}
}

func (d *dirTask) mayStart(a *lookAhead) bool {
	return len(a.open) < maxOpenAhead+a.depth && a.names < maxNamesAhead
}

// do lists the directory and looks at its first files.
func (d *dirTask) do(l *looker) {
	defer d.finish()
	names, err := d.open(l)
	if err != nil {
		d.err = err
		return
	}
	d.names = len(names)
	for some := range slices.Chunk(names, partNames) {
		d.parts = append(d.parts, &partTask{turn: newTurn(), in: d, names: some})
	}
	l.ahead.listed(d)
	if len(d.parts) == 0 {
		return
	}
	if len(d.parts) > 1 {
		add(l, d.parts[1:])
	}
	if d.parts[0].take() {
		d.parts[0].do(l)
	}
}

// open opens the directory and returns the names in it in order.
func (d *dirTask) open(l *looker) ([]string, error) {
	fd, err := openAt(d.parent.fd, d.name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, &ReadError{d.source, err}
	}
	dir := &directory{root: l.root, path: d.source, fd: fd, users: 1, file: os.NewFile(uintptr(fd), d.name)}
	names, err := dir.file.Readdirnames(-1)
	switch {
	case err != nil:
		err = &ReadError{d.source, err}
	case l.opts.Store:
		if err = SortStoreNames(names, l.compare()); err != nil {
			err = fmt.Errorf("%q: %w", d.source, err)
		}
	case l.opts.Compare == nil:
		slices.Sort(names)
	default:
		slices.SortFunc(names, l.opts.Compare)
	}
	if err != nil {
		dir.release()
		return nil, err
	}
	d.dir = dir
	return names, nil
}

func (w *dirWalk) compare() func(a, b string) int {
	if w.opts.Compare == nil {
		return strings.Compare
	}
	return w.opts.Compare
}

func (p *partTask) mayStart(a *lookAhead) bool { return a.files < maxFilesAhead }

// do looks at the files.
func (p *partTask) do(l *looker) {
	defer p.finish()
	d := p.in
	p.entries = make([]*Entry, 0, len(p.names))
	for _, name := range p.names {
		below := d.source + "/" + name
		if p.err = CheckName(below); p.err != nil {
			break
		}
		// From here on, one text holds the name, the path on disk and the path in the tree.
		name = below[len(d.source)+1:]
		rel := l.pathBelow(d.source, d.rel, below)
		var e *Entry
		if e, p.err = l.look(d.dir, name, below, rel); p.err != nil {
			break
		}
		p.entries = append(p.entries, e)
		if e.Type == Dir {
			p.below = append(p.below, newDirTask(d.dir, name, below, rel))
		}
	}
	l.ahead.looked(p)
	if len(p.below) > 0 {
		add(l, p.below)
	}
}

// pathBelow returns the path in the tree of the entry that is below on disk, in the directory
// source, whose path in the tree is rel.
func (w *dirWalk) pathBelow(source, rel, below string) string {
	name := below[len(source)+1:]
	shown := name
	if w.opts.Store {
		shown = StoreName(name)
	}
	if same := below[len(w.root)+1:]; shown == name && (source == w.root || rel == source[len(w.root)+1:]) {
		return same
	}
	return path.Join(rel, shown)
}

// lookAhead has the tasks of a walk that may be done before it is their turn. None of them waits
// for another, and the walk does itself what nobody has begun.
type lookAhead struct {
	mu      sync.Mutex
	more    sync.Cond // for the lookers: there is something to do
	tasks   []task    // the next one last
	waiting int
	running bool
	stopped bool
	lookers sync.WaitGroup

	// open are the directories that were listed and not left, depth of them those that the walk is
	// in; names are those in the others, files the files that the walk has not passed.
	open                map[*dirTask]struct{}
	depth, names, files int
}

// await has a task done.
func (l *looker) await(t task) {
	if t.take() {
		t.do(l)
		return
	}
	t.wait()
}

// add offers tasks, given in the order of the walk.
func add[T task](l *looker, tasks []T) {
	a := &l.ahead
	lookers := min(runtime.GOMAXPROCS(0), maxLookers)
	if lookers < 2 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop()
	for _, t := range slices.Backward(tasks) {
		a.tasks = append(a.tasks, t)
	}
	a.wake()
	// A small tree is not worth it.
	if a.running || a.stopped || len(a.tasks) < minTasks {
		return
	}
	a.running = true
	for range lookers {
		a.lookers.Go(func() { (&looker{dirWalk: l.dirWalk, stamps: stamps{}}).run() })
	}
}

// drop forgets the next tasks, as far as somebody does them.
func (a *lookAhead) drop() {
	for n := len(a.tasks); n > 0 && a.tasks[n-1].begun(); n-- {
		a.tasks[n-1] = nil
		a.tasks = a.tasks[:n-1]
	}
}

// wake wakes lookers that wait, unless they would soon wait again.
func (a *lookAhead) wake() {
	if a.waiting > 0 && len(a.tasks) > 0 && a.files <= maxFilesAhead/2 {
		a.more.Broadcast()
	}
}

// run does tasks until the walk ends.
func (l *looker) run() {
	for t := l.ahead.next(); t != nil; t = l.ahead.next() {
		if t.take() {
			t.do(l)
		}
	}
}

// next waits for a task that may start.
func (a *lookAhead) next() task {
	a.mu.Lock()
	defer a.mu.Unlock()
	for !a.stopped {
		a.drop()
		if n := len(a.tasks); n > 0 && a.tasks[n-1].mayStart(a) {
			t := a.tasks[n-1]
			a.tasks[n-1] = nil
			a.tasks = a.tasks[:n-1]
			return t
		}
		a.waiting++
		a.more.Wait()
		a.waiting--
	}
	return nil
}

// count changes the counters.
func (a *lookAhead) count(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
	a.wake()
}

func (a *lookAhead) listed(d *dirTask) {
	a.count(func() {
		if a.open == nil {
			a.open = map[*dirTask]struct{}{}
		}
		a.open[d] = struct{}{}
		a.names += d.names
	})
}

func (a *lookAhead) entered(d *dirTask) { a.count(func() { a.names -= d.names; a.depth++ }) }
func (a *lookAhead) looked(p *partTask) { a.count(func() { a.files += len(p.names) }) }
func (a *lookAhead) passed(p *partTask) { a.count(func() { a.files -= len(p.names) }) }

// left closes a directory, of which nothing is left.
func (a *lookAhead) left(d *dirTask) {
	a.count(func() { delete(a.open, d); a.depth-- })
	d.dir.release()
}

// stop ends the lookers and closes the directories that are open.
func (a *lookAhead) stop() {
	a.mu.Lock()
	a.stopped = true
	a.more.Broadcast()
	a.mu.Unlock()
	a.lookers.Wait()
	for d := range a.open {
		d.dir.release()
	}
}
