//go:build !unix

package tsocket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/await"
	"github.com/cnode-go/cnode/transport/internal/patience"
)

// A datagramSocket is a Datagram's socket of package net.
type datagramSocket struct{ c *net.UDPConn }

func (s *datagramSocket) syscallConn() (syscall.RawConn, error) { return s.c.SyscallConn() }

func (s *datagramSocket) close(bool) error { return s.c.Close() }

func (s *datagramSocket) receive(ctx context.Context, d *Datagram, p []byte) (n, size int, from transport.Addr, err error) {
	err = during(ctx, d, s.c.SetReadDeadline, func() error {
		k, ap, err := s.c.ReadFromUDPAddrPort(p)
		if n = k; ap.IsValid() {
			from = transport.FromAddrPort(ap)
		}
		return err
	})
	switch {
	case errors.Is(err, syscall.EMSGSIZE): // the rest of it is lost
		return len(p), UnknownSize, from, nil
	case err != nil:
		return 0, 0, nil, err
	}
	return n, n, from, nil
}

func (s *datagramSocket) next(context.Context, *Datagram) (int, error) {
	return 0, errors.ErrUnsupported
}

func (s *datagramSocket) send(ctx context.Context, d *Datagram, p []byte, to transport.Addr) error {
	write := func() error { _, err := s.c.Write(p); return err }
	switch {
	case d.remote == nil:
		ap, err := transport.AddrPort(to)
		local, _ := transport.AddrPort(d.local)
		if err == nil && ap.Addr().Is4() != local.Addr().Is4() {
			err = fmt.Errorf("address %v is of another family than the socket: %w", to, syscall.EINVAL)
		}
		if err != nil {
			return err
		}
		write = func() error { _, err := s.c.WriteToUDPAddrPort(p, ap); return err }
	case to != nil:
		ap, err := transport.AddrPort(to)
		if err != nil {
			return err
		}
		if own, _ := transport.AddrPort(d.remote); ap != own {
			return syscall.EISCONN
		}
	}
	return during(ctx, d, s.c.SetWriteDeadline, write)
}

// during runs an operation until ctx ends.
func during(ctx context.Context, d *Datagram, deadline func(time.Time) error, op func() error) error {
	if err := patience.Ended(ctx); err != nil {
		return err
	}
	until := time.Time{}
	if transport.IsNoWait(ctx) {
		// package net does not look at a socket at all once a deadline has passed
		until = time.Now().Add(time.Millisecond)
	}
	if err := deadline(until); err != nil {
		return reason(d, err)
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { _ = deadline(await.Past); close(fired) })
	err := op()
	cut := !stop()
	if cut {
		<-fired
	}
	switch {
	case err == nil:
		return nil
	case d.usable() != nil:
		return d.usable()
	case cut && errors.Is(err, os.ErrDeadlineExceeded):
		return ctx.Err()
	}
	return transport.PosixError(err)
}
