//go:build unix

package tsocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/await"
	"github.com/cnode-go/cnode/transport/internal/bind"
	"github.com/cnode-go/cnode/transport/internal/patience"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// A datagramSocket is the system's side of a Datagram: one descriptor, owned by the Go poller.
// receive and send are each used by one caller at a time.
type datagramSocket struct {
	pair   *await.Pair
	family int
	mapped bool       // an IPv6 socket that carries IPv4, too: it was adopted
	file   *bind.File // what close removes
	peer   []byte     // the sockaddr that it is connected to

	// Arguments and results of the calls in flight, so that the closures below are made once.
	in  receipt
	out dispatch

	receiveReady, sendReady, nextReady func(uintptr) bool
}

// A receipt is a datagram on its way in.
type receipt struct {
	p []byte
	// size is that of the datagram; UnknownSize if it is too long and the system does not say more
	n, size int
	err     error
	sender
}

// A dispatch is a datagram on its way out.
type dispatch struct {
	p    []byte
	to   transport.Addr // nil: the one that the socket is connected to
	name []byte         // its sockaddr
	err  error
}

// ownDatagram makes a Datagram of a descriptor, through a duplicate; on success fd is closed.
func ownDatagram(fd int, remote transport.Addr) (*Datagram, error) {
	local, err := localAddrFD(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	s := &datagramSocket{}
	if s.family, err = family(local); err != nil {
		return nil, err
	}
	if s.family == unix.AF_INET6 {
		only, err := sys.GetOption(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		s.mapped = err == nil && only == 0
	}
	if remote != nil {
		if s.peer, err = transport.AppendSockaddr(nil, remote); err != nil {
			return nil, err
		}
	}
	if err := sys.SetNonblock(fd, false); err != nil {
		return nil, err
	}
	if s.pair, err = await.New(fd, nil, false, false); err != nil {
		return nil, err
	}
	_ = unix.Close(fd)
	if path, err := transport.UnixPath(local); err == nil {
		s.file = bind.FileAt(path)
	}
	s.receiveReady, s.sendReady, s.nextReady = s.tryReceive, s.trySend, s.tryNext
	return newDatagram(s, local, remote), nil
}

func (s *datagramSocket) syscallConn() (syscall.RawConn, error) { return s.pair.RawConn(), nil }

func (s *datagramSocket) close(unlink bool) error {
	if unlink {
		s.file.Remove()
	}
	s.pair.Close()
	return nil
}

func (s *datagramSocket) receive(ctx context.Context, d *Datagram, p []byte) (n, size int, from transport.Addr, err error) {
	r := &s.in
	r.p, r.n, r.size, r.err = p, 0, 0, nil
	err = reason(d, s.pair.In.Wait(ctx, s.receiveReady))
	r.p = nil
	if err == nil {
		err = r.err
	}
	if err != nil && r.n == 0 { // one that came at the last moment is not lost
		return 0, 0, nil, err
	}
	if from = r.addr; from == nil { // the system does not say
		if from = d.remote; from == nil && s.family == unix.AF_UNIX {
			from = transport.UnixAddr("")
		}
	}
	return r.n, r.size, from, nil
}

func (s *datagramSocket) next(ctx context.Context, d *Datagram) (size int, err error) {
	r := &s.in
	r.size, r.err = 0, nil
	if err := s.pair.In.Wait(ctx, s.nextReady); err != nil {
		return 0, reason(d, err)
	}
	return r.size, r.err
}

func (s *datagramSocket) tryReceive(fd uintptr) bool { return s.try(fd, recvFromFD) }
func (s *datagramSocket) tryNext(fd uintptr) bool    { return s.try(fd, peekFD) }

func (s *datagramSocket) try(fd uintptr, call func(fd int, r *receipt)) bool {
	r := &s.in
	for {
		r.n, r.size, r.err = 0, 0, nil
		call(int(fd), r)
		switch {
		case again(r.err):
			r.err = nil
			return false
		case !errors.Is(r.err, syscall.EINTR):
			return true
		}
	}
}

func (s *datagramSocket) send(ctx context.Context, d *Datagram, p []byte, to transport.Addr) error {
	w := &s.out
	w.p, w.to, w.name = p, nil, w.name[:0]
	defer func() { w.p, w.to = nil, nil }()
	if to != nil {
		name, err := transport.AppendSockaddr(w.name, to)
		if w.name = name; err != nil {
			if errors.Is(err, syscall.EAFNOSUPPORT) {
				err = fmt.Errorf("address %v is of no kind that this socket sends to: %w", to, syscall.EINVAL)
			}
			return err
		}
		switch {
		case s.peer != nil && bytes.Equal(s.peer, w.name):
			w.name = w.name[:0]
		case s.peer != nil:
			return syscall.EISCONN
		default:
			f, _ := family(to)
			// IPv4 addresses have the mapped form on such a socket
			if f == unix.AF_INET && s.mapped {
				w.name = appendMapped(w.name[:0], to)
			} else if f != s.family {
				return fmt.Errorf("address %v is of another family than the socket: %w", to, syscall.EINVAL)
			}
			w.to = to
		}
	}
	err := s.dispatch(ctx, d)
	if err == syscall.EMSGSIZE && s.growSendBuffer(len(p)) {
		err = s.dispatch(ctx, d)
	}
	return err
}

// appendMapped appends the sockaddr_in6 that stands for an IPv4 address on a socket of IPv6.
func appendMapped(b []byte, four transport.Addr) []byte {
	ap, _ := transport.AddrPort(four)
	start := len(b)
	b, _ = transport.AppendSockaddr(b, transport.FromAddrPort(netip.AddrPortFrom(netip.IPv6Unspecified(), ap.Port())))
	sixteen := ap.Addr().As16()
	copy(b[start+8:], sixteen[:]) // sin6_addr
	return b
}

// family is the address family for a new socket.
func family(a transport.Addr) (int, error) {
	if ap, err := transport.AddrPort(a); err == nil {
		if ap.Addr().Is4() {
			return unix.AF_INET, nil
		}
		return unix.AF_INET6, nil
	}
	if _, err := transport.UnixPath(a); err == nil {
		return unix.AF_UNIX, nil
	}
	return 0, fmt.Errorf("address %v is neither an inet nor a UNIX one: %w", a, unix.EAFNOSUPPORT)
}

// dispatch sends what s.out holds.
func (s *datagramSocket) dispatch(ctx context.Context, d *Datagram) error {
	w := &s.out
	w.err = nil
	if s.looks() {
		return s.dispatchByLooking(ctx, d)
	}
	if err := s.pair.Out.Wait(ctx, s.sendReady); err != nil {
		return reason(d, err)
	}
	return w.err
}

// looks tells whether a full receiver is looked at again and again, because the system does not
// tell when there is room.
func (s *datagramSocket) looks() bool {
	return s.family == unix.AF_UNIX && (s.out.to != nil || !tellsRoom)
}

// dispatchByLooking sends to a UNIX socket, on Linux to one to which this one is not connected. The
// poller looks at our own buffer only, never at the receiver's queue: on Linux each try that finds
// the queue full ends the wait for the next try at once, so waiting there would spin.
func (s *datagramSocket) dispatchByLooking(ctx context.Context, d *Datagram) error {
	pause := patience.Backoff{First: time.Millisecond, Most: 50 * time.Millisecond}
	for {
		if err := patience.Ended(ctx); err != nil {
			return err
		}
		if err := s.pair.Out.Wait(transport.NoWait(), s.sendReady); err == nil {
			return s.out.err
		} else if !isTimeout(err) {
			return reason(d, err)
		}
		if err := pause.Wait(ctx, d.closing, nil); err != nil {
			return err
		}
		if err := d.usable(); err != nil {
			return err
		}
	}
}

func (s *datagramSocket) trySend(fd uintptr) bool {
	w := &s.out
	for {
		w.err = sendToFD(int(fd), w)
		switch {
		case again(w.err), w.err == syscall.ENOBUFS && s.looks(): // ENOBUFS: how the BSDs say it
			w.err = nil
			return false
		case !errors.Is(w.err, syscall.EINTR):
			return true
		}
	}
}

// growSendBuffer makes room for a datagram of n bytes; false if there was room enough, or none can
// be made.
func (s *datagramSocket) growSendBuffer(n int) (grown bool) {
	const overhead, step = 256, 1024
	want := (n + overhead + step - 1) &^ (step - 1)
	_ = s.pair.RawConn().Control(func(fd uintptr) {
		size, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
		grown = err == nil && size < want && unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, want) == nil
	})
	return grown
}
