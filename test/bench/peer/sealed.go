package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// A cork is a connection that can hold back what is written to it.
type cork struct {
	net.Conn
	mu   sync.Mutex
	shut bool
	held []byte
}

// close holds back what is written from now on. A nil cork does nothing.
func (c *cork) close() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut = true
}

// open sends what was held back.
func (c *cork) open() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.Conn.Write(c.held)
	c.shut, c.held = false, c.held[:0]
	return err
}

func (c *cork) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shut {
		c.held = append(c.held, p...)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// A corker accepts connections, each behind a cork.
type corker struct {
	net.Listener
	last atomic.Pointer[cork]
}

func (l *corker) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	k := &cork{Conn: c}
	l.last.Store(k)
	return k, nil
}

// serveSealed is serve over crypto/tls, for one connection at a time.
func serveSealed(ctx context.Context, cfg nodes.Config, dir string) error {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "node.pem"), filepath.Join(dir, "node.key"))
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return errors.New("ca.pem holds no certificate")
	}
	tlsConfig := &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	var corks *corker
	cfg.Transport = transport.FromNet(transport.Net{
		Listen: func(addr transport.Addr) (net.Listener, error) {
			l, err := net.Listen("tcp", addr.String())
			if err != nil {
				return nil, err
			}
			corks = &corker{Listener: l}
			return tls.NewListener(corks, tlsConfig), nil
		},
		HeaderSize: 4,
	})
	return accept(ctx, cfg, func(c *nodes.Conn) error {
		go converse(ctx, c, corks.last.Load())
		return nil
	})
}
