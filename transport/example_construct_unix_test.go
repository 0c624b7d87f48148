//go:build unix

package transport_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// A listener, and a connection that comes from an address of its own.
func ExampleConnectTCP() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	local, err := transport.ParseInet("ip", "127.0.0.1", 0)
	if err != nil {
		log.Fatal(err)
	}
	l, err := transport.ListenTCP(local, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	c, err := transport.ConnectTCP(ctx, local, l.Addr())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	fmt.Println(s.RemoteAddr() == c.LocalAddr())
	// Output: true
}

// The same over a path, which is removed with its listener.
func ExampleConnectUnix() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	dir, err := os.MkdirTemp("/tmp", "example") // a socket's path must be short
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path, err := transport.FromUnixPath(filepath.Join(dir, "socket"))
	if err != nil {
		log.Fatal(err)
	}
	l, err := transport.ListenUnix(path, 0)
	if err != nil {
		log.Fatal(err)
	}
	c, err := transport.ConnectUnix(ctx, nil, path)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.RemoteAddr() == path)
	fmt.Println(c.Close(), l.Close())
	// Output:
	// true
	// <nil> <nil>
}

// Descriptors that come from elsewhere: from a supervisor, say, or from package net.
func ExampleAdoptListener() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	given, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	l, err := transport.AdoptListener(descriptor(given.(*net.TCPListener).File))
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	defer given.Close()
	dialled, err := net.Dial("tcp", given.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer dialled.Close()
	c, err := transport.AdoptStream(descriptor(dialled.(*net.TCPConn).File))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	_, err = c.Writev(ctx, []byte("he"), []byte("llo"))
	b := make([]byte, 5)
	n, rerr := s.Readv(ctx, b)
	fmt.Println(n, string(b), err, rerr)
	// Output: 5 hello <nil> <nil>
}

// descriptor returns a descriptor that belongs to the caller alone.
func descriptor(file func() (*os.File, error)) int {
	f, err := file()
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		log.Fatal(err)
	}
	syscall.CloseOnExec(fd)
	return fd
}
