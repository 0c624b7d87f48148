//go:build unix

package transporttest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
)

// narrow are good plug-ins that hold few or no unread bytes, or that need both ends from the start.
func narrow() []good {
	return []good{
		{"net.Pipe", func(testing.TB) Factory {
			return always((&pipes{at: map[string]*pipeListener{}}).transport(), pipeAddr("any"))
		}},
		{"unix with the smallest buffer", func(t testing.TB) Factory {
			dir := sockdir.New(t)
			tr, n := must(t, smallest()), new(atomic.Int64)
			return func() (transport.Transport, transport.Addr, error) {
				a, err := transport.ParseAddr("unix:" + filepath.Join(dir, fmt.Sprint(n.Add(1))))
				return tr, a, err
			}
		}},
		{"package tls", func(t testing.TB) Factory {
			server, client := certified(t)
			return always(overTLS(server, (&tls.Dialer{Config: client}).DialContext), loopback())
		}},
		{"package tls, handshake when used", func(t testing.TB) Factory {
			server, client := certified(t)
			return always(overTLS(server, func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := new(net.Dialer).DialContext(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				return tls.Client(c, client), nil
			}), loopback())
		}},
	}
}

// smallest is the UNIX plug-in with the smallest buffers that the system allows.
func smallest() transport.Callbacks[*transport.UnixSocket] {
	cb := transport.UnixCallbacks()
	socket, accept := cb.Socket, cb.Accept
	shrink := func(u *transport.UnixSocket, err error) (*transport.UnixSocket, error) {
		if err != nil {
			return u, err
		}
		fd, err := cb.GetFD(u)
		return u, errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1))
	}
	cb.Socket = func(setup any, a transport.Addr) (*transport.UnixSocket, error) { return shrink(socket(setup, a)) }
	cb.Accept = func(u *transport.UnixSocket, tmo time.Duration) (*transport.UnixSocket, transport.Addr, error) {
		n, peer, err := accept(u, tmo)
		n, err = shrink(n, err)
		return n, peer, err
	}
	return cb
}

// overTLS is a transport made of package tls.
func overTLS(server *tls.Config, dial func(context.Context, string, string) (net.Conn, error)) transport.Transport {
	return transport.FromNet(transport.Net{
		HeaderSize: 4,
		Listen:     func(a transport.Addr) (net.Listener, error) { return tls.Listen("tcp", a.String(), server) },
		Dial:       func(ctx context.Context, a transport.Addr) (net.Conn, error) { return dial(ctx, "tcp", a.String()) },
	})
}

// certified makes the configurations of a server with a certificate, and of a client that trusts
// it.
func certified(t testing.TB) (server, client *tls.Config) {
	key := expect.NoError(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).In(t)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der := expect.NoError(x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)).In(t)
	leaf := expect.NoError(x509.ParseCertificate(der)).In(t)
	trust := x509.NewCertPool()
	trust.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{RootCAs: trust, ServerName: "localhost"}
}

// pipes are listeners whose connections are those of net.Pipe: a write waits until the other end
// reads.
type pipes struct {
	mu   sync.Mutex
	at   map[string]*pipeListener
	next int
}

type pipeAddr string

func (pipeAddr) Network() string  { return "transporttest-pipe" }
func (a pipeAddr) String() string { return string(a) }

// A pipeConn is an end of a net.Pipe with addresses of its own.
type pipeConn struct {
	net.Conn
	local, remote pipeAddr
}

func (c *pipeConn) LocalAddr() net.Addr  { return c.local }
func (c *pipeConn) RemoteAddr() net.Addr { return c.remote }

func (p *pipes) transport() transport.Transport {
	return transport.FromNet(transport.Net{Listen: p.listen, Dial: p.dial})
}

func (p *pipes) fresh(kind string) pipeAddr {
	p.next++
	return pipeAddr(fmt.Sprint(kind, " ", p.next))
}

func (p *pipes) listen(a transport.Addr) (net.Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	addr := pipeAddr(a.String()) // whatever its kind
	if addr == "any" {
		addr = p.fresh("listener")
	}
	l := &pipeListener{pipes: p, addr: addr, come: make(chan net.Conn), over: make(chan struct{})}
	p.at[l.addr.String()] = l
	return l, nil
}

func (p *pipes) dial(ctx context.Context, a transport.Addr) (net.Conn, error) {
	p.mu.Lock()
	l, mine := p.at[a.String()], p.fresh("client")
	p.mu.Unlock()
	if l == nil {
		return nil, syscall.ECONNREFUSED
	}
	client, server := net.Pipe()
	select {
	case l.come <- &pipeConn{server, l.addr, mine}:
		return &pipeConn{client, mine, l.addr}, nil
	case <-l.over:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type pipeListener struct {
	pipes  *pipes
	addr   pipeAddr
	come   chan net.Conn
	over   chan struct{}
	closes sync.Once
}

func (l *pipeListener) Addr() net.Addr { return l.addr }

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.come:
		return c, nil
	case <-l.over:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.closes.Do(func() {
		l.pipes.mu.Lock()
		defer l.pipes.mu.Unlock()
		delete(l.pipes.at, l.addr.String())
		close(l.over)
	})
	return nil
}
