package cnodemux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// A Session is that of a multiplexer. Its streams have deadlines.
type Session interface {
	Open() (net.Conn, error)
	Accept() (net.Conn, error)
	NumStreams() int
	IsClosed() bool
	Close() error
}

// New returns the transport. client and server make a session of a TCP connection, which then
// belongs to it; on an error it is closed.
func New(client, server func(net.Conn) (Session, error)) transport.Transport {
	d := &dialer{client: client}
	return transport.FromNet(transport.Net{
		Listen: func(at transport.Addr) (net.Listener, error) {
			a, err := transport.ToNetAddr("tcp", at)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", syscall.EAFNOSUPPORT, err)
			}
			tcp, err := net.Listen("tcp", a.String())
			if err != nil {
				return nil, err
			}
			l := &listener{Listener: tcp, come: make(chan net.Conn), over: make(chan struct{})}
			go l.run(server)
			return l, nil
		},
		Dial: d.dial,
	})
}

// A dialer has the sessions to others.
type dialer struct {
	client   func(net.Conn) (Session, error)
	sessions sync.Map // by address; two that are made at the same time are two
}

func (d *dialer) dial(ctx context.Context, to transport.Addr) (net.Conn, error) {
	at, err := transport.AddrPort(to)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", syscall.EAFNOSUPPORT, err)
	}
	had, _ := d.sessions.Load(at)
	s, _ := had.(Session)
	if s == nil || s.IsClosed() {
		tcp, err := new(net.Dialer).DialContext(ctx, "tcp", at.String())
		if err != nil {
			return nil, err
		}
		if s, err = d.client(tcp); err != nil {
			return nil, errors.Join(err, tcp.Close())
		}
		d.sessions.Store(at, s)
	}
	c, err := s.Open()
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return stream{c, func() { d.left(at, s) }}, nil
}

// idle is how long a session is kept without a stream: what was written last is on its way then.
const idle = time.Second

// left forgets a session without streams, and ends it unless a dial has just found it.
func (d *dialer) left(at any, s Session) {
	time.AfterFunc(idle, func() {
		switch {
		case s.NumStreams() > 0:
		case d.sessions.CompareAndDelete(at, s):
			d.left(at, s)
		default:
			_ = s.Close()
		}
	})
}

// A stream tells that it is closed.
type stream struct {
	net.Conn
	left func()
}

func (s stream) Close() error { defer s.left(); return s.Conn.Close() }

// A listener gives the streams of all sessions.
type listener struct {
	net.Listener
	come chan net.Conn
	over chan struct{}
}

func (l *listener) run(server func(net.Conn) (Session, error)) {
	for tcp, err := l.Listener.Accept(); err == nil; tcp, err = l.Listener.Accept() {
		if s, err := server(tcp); err == nil {
			go l.pass(s)
		} else {
			_ = tcp.Close()
		}
	}
}

func (l *listener) pass(s Session) {
	defer s.Close()
	for c, err := s.Accept(); err == nil; c, err = s.Accept() {
		select {
		case l.come <- c:
		case <-l.over: // the other streams go on
			_ = c.Close()
		}
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.come:
		return c, nil
	case <-l.over:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	close(l.over)
	return l.Listener.Close()
}
