//go:build !linux

package handoff

import "net"

// A lone is for Linux: elsewhere the socket stays with the Go poller.
type lone struct{}

func (c *Conn) own() {}

func (*lone) Close() error { return net.ErrClosed }

func (*lone) closeWrite() error { return net.ErrClosed }

func (*lone) unixConn() *net.UnixConn { return nil }
