package lab

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Disk shows a directory at another place, where it can be full, or slow to write.
type Disk struct {
	server *fuse.Server
	full   atomic.Bool
	slow   atomic.Int64 // nanoseconds
}

// MountDisk shows what is in the directory from at the directory to; both are made. It needs a file system of its own to
// mount in (Enter). Close takes it away; what was written stays in from.
func MountDisk(from, to string) (*Disk, error) {
	for _, dir := range []string{from, to} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make a disk: %w", err)
		}
	}
	var st syscall.Stat_t
	if err := syscall.Stat(from, &st); err != nil {
		return nil, fmt.Errorf("make a disk of %s: %w", from, err)
	}
	d := &Disk{}
	root := &fs.LoopbackRoot{Path: from, Dev: st.Dev}
	top := &node{LoopbackNode: &fs.LoopbackNode{RootData: root}, disk: d}
	root.RootNode = top
	keep := time.Second // nobody else changes what is in there
	server, err := fs.Mount(to, top, &fs.Options{
		EntryTimeout: &keep, AttrTimeout: &keep, NullPermissions: true,
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "carillon-lab", Name: "lab", MaxWrite: 1 << 20},
	})
	if err != nil {
		return nil, fmt.Errorf("mount a disk: %w", err)
	}
	d.server = server
	return d, nil
}

// Full takes away all room that is left, or gives it back. What is there already can still be written over.
func (d *Disk) Full(full bool) { d.full.Store(full) }

// Slow makes each write and each sync take longer: a sync by so much, a write by a twentieth of it.
func (d *Disk) Slow(by time.Duration) { d.slow.Store(int64(by)) }

// Close takes the disk away. Nobody may have a file open on it.
func (d *Disk) Close() error {
	if err := d.server.Unmount(); err != nil {
		return fmt.Errorf("unmount a disk: %w", err)
	}
	return nil
}

// room says whether something new may be made.
func (d *Disk) room() syscall.Errno {
	if d.full.Load() {
		return syscall.ENOSPC
	}
	return fs.OK
}

// drag waits for a part of what a sync takes longer.
func (d *Disk) drag(part int64) {
	if by := d.slow.Load(); by > 0 {
		time.Sleep(time.Duration(by / part))
	}
}

// node is a file or directory of the disk.
type node struct {
	*fs.LoopbackNode
	disk *Disk
}

// WrapChild makes what is found or made in a directory a part of the disk.
func (n *node) WrapChild(_ context.Context, ops fs.InodeEmbedder) fs.InodeEmbedder {
	if child, ok := ops.(*fs.LoopbackNode); ok {
		return &node{child, n.disk}
	}
	return ops
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if errno := n.disk.room(); errno != fs.OK {
		return nil, nil, 0, errno
	}
	inode, h, fuseFlags, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	return inode, n.disk.file(h), fuseFlags, errno
}

func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	h, fuseFlags, errno := n.LoopbackNode.Open(ctx, flags)
	return n.disk.file(h), fuseFlags, errno
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno := n.disk.room(); errno != fs.OK {
		return nil, errno
	}
	return n.LoopbackNode.Mkdir(ctx, name, mode, out)
}

// file is an open file of the disk.
type file struct {
	*fs.LoopbackFile
	disk *Disk
}

func (d *Disk) file(h fs.FileHandle) fs.FileHandle {
	if f, ok := h.(*fs.LoopbackFile); ok {
		return &file{f, d}
	}
	return h
}

// PassthroughFd keeps the kernel from writing to the file beneath without asking.
func (f *file) PassthroughFd() (int, bool) { return 0, false }

func (f *file) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	f.disk.drag(20)
	if f.disk.full.Load() {
		var at fuse.AttrOut
		if errno := f.Getattr(ctx, &at); errno != fs.OK {
			return 0, errno
		}
		if left := int64(at.Size) - off; left < int64(len(data)) {
			if left <= 0 {
				return 0, syscall.ENOSPC
			}
			data = data[:left]
		}
	}
	return f.LoopbackFile.Write(ctx, data, off)
}

func (f *file) Fsync(ctx context.Context, flags uint32) syscall.Errno {
	f.disk.drag(1)
	return f.LoopbackFile.Fsync(ctx, flags)
}

func (f *file) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	if errno := f.disk.room(); errno != fs.OK {
		return errno
	}
	return f.LoopbackFile.Allocate(ctx, off, size, mode)
}
