package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
)

// The guest sees files and directories of the host through a second serial port: it asks
// one question at a time, and each answer consists of frames of data and a final one. Few
// kernels made for virtual machines have a file system for this (9p is not in Debian's),
// and all have FUSE.
const (
	frameAsk    = 'q' // guest: a question
	frameData   = 'd' // host: content of a file, names of a directory, a link's text
	frameAnswer = 'a' // host: an answer
)

// question asks for something in a share.
type question struct {
	Op    fileOp
	Share int
	// Path is relative to the share; "" means the share itself.
	Path string
	// Offset and Size say which part of a file to read.
	Offset int64
	Size   int
}

// fileOp names a kind of question.
type fileOp string

const (
	opStat     fileOp = "stat"
	opReadLink fileOp = "readlink"
	opReadDir  fileOp = "readdir" // names, each preceded by a type byte and followed by NUL
	opRead     fileOp = "read"
)

// maxRead limits what is read at once.
const maxRead = 1 << 20

// check refuses questions that our guest program never asks about this number of shares.
func (q *question) check(shares int) error {
	known := q.Op == opStat || q.Op == opReadLink || q.Op == opReadDir || q.Op == opRead
	if !known || q.Share < 0 || q.Share >= shares || q.Offset < 0 || q.Size < 0 || q.Size > maxRead {
		return errors.New("there is no such thing to ask for")
	}
	return nil
}

// answer ends the host's reply to a question.
type answer struct {
	Errno syscall.Errno
	// Mode is the type and the permissions, Device a device's number, as in stat(2).
	Mode        uint32
	Device      uint64
	Size, Mtime int64
	// UID and GID are ids in the guest: stepID or strangerID.
	UID, GID uint32
}

// The owners of files in the guest: the user and group that package userns gives to a step
// that root runs with all ids, or those of somebody else, whom the step knows as nobody.
const (
	stepID     = 1 << 31
	strangerID = 0
)

// fileClient asks. Several goroutines may use it.
type fileClient struct {
	mu     sync.Mutex
	port   io.Reader
	frames *frameWriter
	buf    []byte
}

func newFileClient(port io.ReadWriter) *fileClient {
	return &fileClient{port: port, frames: &frameWriter{w: port}, buf: make([]byte, maxFrame)}
}

// ask asks a question, and returns the answer and the data before it.
func (c *fileClient) ask(q question) (answer, []byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.frames.writeJSON(frameAsk, q); err != nil {
		return answer{}, nil, err
	}
	var all []byte
	for {
		kind, data, err := readFrame(c.port, c.buf)
		switch {
		case err != nil:
			return answer{}, nil, err
		case kind == frameData:
			all = append(all, data...)
		case kind == frameAnswer:
			var a answer
			err := json.Unmarshal(data, &a)
			if err == nil && a.Errno != 0 {
				err = a.Errno
			}
			return a, all, err
		default:
			return answer{}, nil, fmt.Errorf("an answer of kind %q", kind)
		}
	}
}

// errno returns the number of an error, EIO where it has none.
func errno(err error) syscall.Errno {
	var e syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e
	}
	return syscall.EIO
}
