package handoff

import (
	"syscall"
	"unsafe"

	"github.com/cnode-go/cnode/transport"
	"golang.org/x/sys/unix"
)

// pollsOwnBufferOnly: see Conn.sendByLooking.
const pollsOwnBufferOnly = true

// The calls are made with structures that live in the Conn, so that nothing is allocated, and without telling the scheduler: MSG_DONTWAIT
// keeps them from waiting.

type outSystem struct {
	header unix.Msghdr
	vector [2]unix.Iovec
	name   []byte // sockaddr_un
}

type inSystem struct {
	header unix.Msghdr
	vector unix.Iovec
	name   [unix.SizeofSockaddrUnix + 2]byte
	known  string // the name whose Addr knownAddr is
	cached transport.Addr
}

// address keeps the address of an outgoing message as the system wants it.
func (o *outgoing) address(to transport.Addr) (err error) {
	if o.name = o.name[:0]; to != nil {
		if _, err = transport.UnixPath(to); err == nil {
			o.name, err = transport.AppendSockaddr(o.name, to)
		}
	}
	return err
}

func (o *outgoing) send(fd int) (int, error) {
	n, errno := messageCall(unix.SYS_SENDMSG, fd, &o.header, sendFlags, o.describe())
	if errno != 0 {
		return 0, errno
	}
	return n, nil
}

// The headers come first in their structures.
const (
	sendFlags    = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	receiveFlags = unix.MSG_DONTWAIT | unix.MSG_CMSG_CLOEXEC
)

func (o *outSystem) clear() { o.vector[0].Base, o.vector[1].Base = nil, nil }
func (i *inSystem) clear()  { i.vector.Base = nil }

// call makes the system call that has been described. It is small enough to be part of its caller.
func (o *outSystem) call(fd uintptr) (n, _ uintptr, errno syscall.Errno) {
	return syscall.RawSyscall6(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(o)), sendFlags, 0, 0, 0)
}

// describe fills in what sendmsg(2) is to send, and says how many bytes that is.
func (o *outgoing) describe() int {
	h := &o.header
	*h = unix.Msghdr{}
	head, rest := o.rest()
	parts := 0
	if len(head) > 0 {
		o.vector[0].Base = &head[0]
		o.vector[0].SetLen(len(head))
		parts = 1
	}
	if len(rest) > 0 {
		o.vector[parts].Base = &rest[0]
		o.vector[parts].SetLen(len(rest))
		parts++
	}
	h.Iov = &o.vector[0]
	h.SetIovlen(parts)
	if control := o.control(); control != nil {
		h.Control = &control[0]
		h.SetControllen(len(control))
	}
	if len(o.name) > 0 {
		h.Name = &o.name[0]
		h.Namelen = uint32(len(o.name))
	}
	return len(head) + len(rest)
}

// receive reads one message.
func (i *incoming) receive(fd int, credentials bool) error {
	if i.whole {
		if err := i.makeRoom(fd); err != nil {
			return err
		}
	}
	i.describe(credentials)
	n, errno := messageCall(unix.SYS_RECVMSG, fd, &i.header, receiveFlags, len(i.p))
	if errno != 0 {
		return errno
	}
	return i.came(n, credentials)
}

func (i *inSystem) call(fd uintptr) (n, _ uintptr, errno syscall.Errno) {
	return syscall.RawSyscall6(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(i)), receiveFlags, 0, 0, 0)
}

// describe fills in what recvmsg(2) has room for.
func (i *incoming) describe(credentials bool) {
	h := &i.header
	*h = unix.Msghdr{}
	if i.named {
		h.Name, h.Namelen = &i.name[0], uint32(len(i.name))
	}
	if len(i.p) > 0 {
		i.vector.Base = &i.p[0]
		i.vector.SetLen(len(i.p))
		h.Iov = &i.vector
		h.SetIovlen(1)
	}
	h.Control = &i.arriving.bytes()[0]
	h.SetControllen(roomFor(credentials))
}

// roomFor is how much control data may come with a message: as many descriptors as one can have, whatever the caller has room for, since
// what the kernel has no room for it closes itself, inside the system call, and a file of FUSE can take its time over that. It is exact:
// with CMSG_SPACE the padding behind the last descriptor could take another.
func roomFor(credentials bool) int {
	size := unix.CmsgLen(4 * MaxDescriptors)
	if credentials {
		size += unix.CmsgSpace(unix.SizeofUcred)
	}
	return size
}

// came takes the message that has been received.
func (i *incoming) came(n int, credentials bool) error {
	h, control := &i.header, i.arriving.bytes()
	i.sender(i.name[:min(int(h.Namelen), len(i.name))])
	return i.settle(n, control[:min(int(h.Controllen), len(control))], int(h.Flags), credentials)
}

// makeRoom looks how long the next packet is. It looks without room for descriptors, for each look would make new ones of them. A
// packet beyond the limit is read, so that it is gone.
func (i *incoming) makeRoom(fd int) error {
	h := &i.header
	*h = unix.Msghdr{}
	size, errno := messageCall(unix.SYS_RECVMSG, fd, h, unix.MSG_DONTWAIT|unix.MSG_PEEK|unix.MSG_TRUNC, 0)
	if errno != 0 {
		return errno
	}
	switch {
	case size > i.limit:
		i.p = i.p[:0] // it will be ErrTruncated, or ErrDescriptorsLost
	case size > cap(i.p):
		i.p = make([]byte, size)
	default:
		i.p = i.p[:size]
	}
	return nil
}

// sender finds the address of a name, most often that of the message before.
func (i *incoming) sender(name []byte) {
	if i.cached == nil || string(name) != i.known {
		i.known = string(name)
		if i.cached, _ = transport.ParseSockaddr(name); i.cached == nil {
			i.cached = transport.UnixAddr("")
		}
	}
	i.from = i.cached
}

func messageCall(trap uintptr, fd int, h *unix.Msghdr, flags uintptr, size int) (int, syscall.Errno) {
	var n uintptr
	var errno syscall.Errno
	if size <= rawMax {
		n, _, errno = syscall.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(h)), flags) // x/sys would make a detour
	} else {
		n, _, errno = unix.Syscall(trap, uintptr(fd), uintptr(unsafe.Pointer(h)), flags)
	}
	return int(n), errno
}

// emptyCarries tells whether an empty message can carry descriptors.
func emptyCarries(kind int) bool { return kind != unix.SOCK_STREAM }

func noRoom(err error) bool { return again(err) }
