//go:build amd64

package vm

import (
	"bytes"
	"context"
	"path"
	"strconv"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// hostFile is a file or directory of the host, as the guest sees it.
type hostFile struct {
	fs.Inode
	client *fileClient
	share  int
	path   string
}

var (
	_ fs.NodeLookuper   = (*hostFile)(nil)
	_ fs.NodeGetattrer  = (*hostFile)(nil)
	_ fs.NodeReaddirer  = (*hostFile)(nil)
	_ fs.NodeReadlinker = (*hostFile)(nil)
	_ fs.NodeOpener     = (*hostFile)(nil)
	_ fs.NodeReader     = (*hostFile)(nil)
)

// hostShares is the directory of all shares, by their numbers.
type hostShares struct {
	fs.Inode
	client *fileClient
}

var _ fs.NodeLookuper = (*hostShares)(nil)

// Lookup finds a share.
func (h *hostShares) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	share, err := strconv.Atoi(name)
	if err != nil {
		return nil, syscall.ENOENT
	}
	return (&hostFile{client: h.client, share: share}).in(ctx, &h.Inode, out)
}

// mountHost mounts the shares of the host. The kernel checks permissions, including those
// of files that have none.
func mountHost(client *fileClient, at string) error {
	forever := 24 * time.Hour // the step may not rely on seeing changes on the host
	_, err := fs.Mount(at, &hostShares{client: client}, &fs.Options{
		EntryTimeout: &forever, AttrTimeout: &forever, NegativeTimeout: &forever, NullPermissions: true,
		MountOptions: fuse.MountOptions{
			AllowOther: true, DirectMountStrict: true, DirectMountFlags: unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV,
			FsName: "host", Name: "varve", MaxReadAhead: maxRead, Options: []string{"default_permissions"},
		},
	})
	return err
}

func (f *hostFile) ask(op fileOp, name string) (answer, []byte, syscall.Errno) {
	a, data, err := f.client.ask(question{Op: op, Share: f.share, Path: name})
	return a, data, errno(err)
}

// Lookup finds a name in a directory.
func (f *hostFile) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return (&hostFile{client: f.client, share: f.share, path: path.Join(f.path, name)}).in(ctx, &f.Inode, out)
}

// in makes an inode in a directory's inode, if the host has the file.
func (f *hostFile) in(ctx context.Context, dir *fs.Inode, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	a, _, no := f.ask(opStat, f.path)
	if no != 0 {
		return nil, no
	}
	a.fill(&out.Attr)
	return dir.NewInode(ctx, f, fs.StableAttr{Mode: a.Mode & unix.S_IFMT}), 0
}

// Getattr returns what stat(2) does.
func (f *hostFile) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	a, _, no := f.ask(opStat, f.path)
	if no == 0 {
		a.fill(&out.Attr)
	}
	return no
}

// fill copies the host's answer.
func (a *answer) fill(out *fuse.Attr) {
	out.Mode, out.Size, out.Mtime, out.Nlink = a.Mode, uint64(a.Size), uint64(max(a.Mtime, 0)), 1
	out.Uid, out.Gid, out.Rdev = a.UID, a.GID, uint32(a.Device)
	out.Blksize, out.Blocks = 4096, uint64(a.Size+511)/512
}

// Readdir lists a directory.
func (f *hostFile) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	_, data, no := f.ask(opReadDir, f.path)
	if no != 0 {
		return nil, no
	}
	var entries []fuse.DirEntry
	for item := range bytes.SplitSeq(data, []byte{0}) {
		if len(item) > 1 {
			entries = append(entries, fuse.DirEntry{Mode: typeBits(item[0]), Name: string(item[1:])})
		}
	}
	return fs.NewListDirStream(entries), 0
}

func typeBits(b byte) uint32 {
	switch b {
	case 'd':
		return unix.S_IFDIR
	case 'l':
		return unix.S_IFLNK
	case '-':
		return unix.S_IFREG
	}
	return 0
}

// Readlink reads a symlink.
func (f *hostFile) Readlink(context.Context) ([]byte, syscall.Errno) {
	_, data, no := f.ask(opReadLink, f.path)
	return data, no
}

// Open opens a file whose content the kernel may keep.
func (f *hostFile) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

// Read reads from a file.
func (f *hostFile) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	_, data, err := f.client.ask(question{Op: opRead, Share: f.share, Path: f.path, Offset: off, Size: min(len(dest), maxRead)})
	if err != nil {
		return nil, errno(err)
	}
	return fuse.ReadResultData(data), 0
}
