package remember

import "crypto/sha256"

// Looks remembers, for a moment, what was seen of the machine's files: the scripts of one image see
// mostly the same. It is not safe for concurrent use; a nil *Looks remembers nothing.
type Looks struct {
	seen map[string]look
}

// look is what the file system says of a file or of a directory with all that is in it.
type look struct {
	sum [sha256.Size]byte
	// changed is when the last of them was changed, in nanoseconds since 1970.
	changed int64
}

// at returns what was seen at a path, or else what is to be seen there now.
func (l *Looks) at(name string, now func() (look, error)) (look, error) {
	if l == nil {
		return now()
	}
	if found, ok := l.seen[name]; ok {
		return found, nil
	}
	found, err := now()
	if err == nil {
		if l.seen == nil {
			l.seen = map[string]look{}
		}
		l.seen[name] = found
	}
	return found, err
}

// forget makes the next look a new one.
func (l *Looks) forget() {
	if l != nil {
		l.seen = nil
	}
}
