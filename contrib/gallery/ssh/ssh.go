package cnodessh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/cnode-go/cnode/transport"
)

// New returns the transport: it connects through the SSH server at an address, "bastion:22", and
// listens as TCP does. Addresses are as the server sees them, "127.0.0.1:9100" being its own.
func New(server string, cfg *ssh.ClientConfig) transport.Transport {
	return transport.FromNet(transport.Net{
		Listen: func(at transport.Addr) (net.Listener, error) {
			a, err := transport.ToNetAddr("tcp", at)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", syscall.EAFNOSUPPORT, err)
			}
			return net.Listen("tcp", a.String())
		},
		Dial: func(ctx context.Context, to transport.Addr) (net.Conn, error) { return dial(ctx, server, cfg, to) },
	})
}

func dial(ctx context.Context, server string, cfg *ssh.ClientConfig, to transport.Addr) (net.Conn, error) {
	at, err := transport.AddrPort(to)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", syscall.EAFNOSUPPORT, err)
	}
	tcp, err := new(net.Dialer).DialContext(ctx, "tcp", server)
	if err != nil {
		return nil, fmt.Errorf("the SSH server %s: %w", server, err)
	}
	stop := context.AfterFunc(ctx, func() { tcp.Close() })
	session, channels, requests, err := ssh.NewClientConn(tcp, server, cfg)
	if err != nil {
		tcp.Close()
		return nil, fmt.Errorf("the SSH server %s: %w", server, err)
	}
	client := ssh.NewClient(session, channels, requests)
	far, err := through(ctx, client, at.String())
	var refused *ssh.OpenChannelError
	if errors.As(err, &refused) && refused.Reason == ssh.ConnectionFailed {
		err = fmt.Errorf("%w: %w", syscall.ECONNREFUSED, err)
	}
	if err != nil || !stop() {
		client.Close()
		return nil, errors.Join(err, ctx.Err())
	}
	// A channel of SSH has no deadlines; a pipe has them.
	near, here := net.Pipe()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.Copy(far, here)
		_ = here.Close()
		_ = far.(interface{ CloseWrite() error }).CloseWrite()
	}()
	go func() {
		defer client.Close()
		_, _ = io.Copy(here, far)
		_ = here.Close()
		_, _ = io.Copy(io.Discard, far) // until the server has passed on what was sent, and closes
		<-sent
	}()
	return &conn{near, tcp.LocalAddr(), transport.FromAddrPort(at), client}, nil
}

// through is client.Dial until ctx ends. Where the connection breaks at the moment at which a
// channel is asked for, Dial waits for ever.
func through(ctx context.Context, client *ssh.Client, at string) (net.Conn, error) {
	type end struct {
		far net.Conn
		err error
	}
	dialed := make(chan end, 1)
	go func() {
		far, err := client.Dial("tcp", at)
		dialed <- end{far, err}
	}()
	select {
	case e := <-dialed:
		return e.far, e.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A conn is this side's end of the pipe.
type conn struct {
	net.Conn
	local, remote net.Addr
	client        *ssh.Client
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// lingering is for how long after Close what was written is still sent.
const lingering = 5 * time.Second

func (c *conn) Close() error {
	time.AfterFunc(lingering, func() { c.client.Close() })
	return c.Conn.Close()
}
