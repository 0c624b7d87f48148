//go:build unix

package tsocket_test

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
	"github.com/cnode-go/cnode/transport/tsocket"
)

// Datagrams between two paths. An unnamed socket can send, but nothing can be sent to it.
func ExampleOpenUnixgram() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	dir, err := os.MkdirTemp("/tmp", "example") // a socket's path must be short
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path, err := transport.FromUnixPath(filepath.Join(dir, "sink"))
	if err != nil {
		log.Fatal(err)
	}
	sink, err := tsocket.OpenUnixgram(path, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer sink.Close()
	d, err := tsocket.OpenUnixgram(nil, path)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	if _, err := d.SendTo(ctx, []byte("started"), nil); err != nil {
		log.Fatal(err)
	}
	b := make([]byte, 100)
	n, from, err := sink.RecvFrom(ctx, b)
	fmt.Printf("%s, from %q, %v\n", b[:n], from.String(), err)
	// Output: started, from "", <nil>
}

// A UDP socket that a supervisor has bound.
func ExampleAdoptDatagram() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	given, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer given.Close()
	d, err := tsocket.AdoptDatagram(descriptor(given.(*net.UDPConn).File))
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	asks, err := tsocket.OpenUDP(nil, d.LocalAddr())
	if err != nil {
		log.Fatal(err)
	}
	defer asks.Close()
	if _, err := asks.SendTo(ctx, []byte("ping"), nil); err != nil {
		log.Fatal(err)
	}
	b := make([]byte, 100)
	n, from, err := d.RecvFrom(ctx, b)
	if err == nil {
		_, err = d.SendTo(ctx, b[:n], from)
	}
	fmt.Println(string(b[:n]), err)
	// Output: ping <nil>
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
