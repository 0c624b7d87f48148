package transport_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// pair connects two streams over an in-memory transport.
func pair(ctx context.Context) (client, server *transport.Stream) {
	tr := transport.NewMemory()
	l, err := tr.Listen(transport.MemoryAddr("example"), 0)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	if client, err = tr.Connect(ctx, l.Addr()); err != nil {
		log.Fatal(err)
	}
	if server, err = l.Accept(ctx); err != nil {
		log.Fatal(err)
	}
	return client, server
}

// Packets with a length of four bytes before them. The next-vector function is asked for the header
// first, then for a body of the length that the header says, then it has seen a whole packet. It
// checks the length before it allocates.
func ExampleStream_ReadPDU() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, server := pair(ctx)
	defer client.Close()
	defer server.Close()

	_, _ = client.Writev(ctx, []byte("\x00\x00\x00\x05first\x00\x00\x00\x06sec"), []byte("ond"))
	_ = client.CloseWrite()

	const limit = 1 << 20
	for {
		var header [4]byte
		var body []byte
		step := 0
		_, err := server.ReadPDU(ctx, func() ([][]byte, error) {
			switch step++; step {
			case 1:
				return [][]byte{header[:]}, nil
			case 2:
				n := binary.BigEndian.Uint32(header[:])
				if n > limit {
					return nil, fmt.Errorf("a packet of %d bytes", n)
				}
				body = make([]byte, n)
				return [][]byte{body}, nil
			}
			return nil, nil
		})
		if err == io.EOF {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", body)
	}
	// Output:
	// first
	// second
}

// Everything that package net can listen on and dial can become a Transport: here TCP with a dialer
// of our own.
func ExampleFromNet() {
	tr := transport.FromNet(transport.Net{
		Listen: func(a transport.Addr) (net.Listener, error) { return net.Listen("tcp", a.String()) },
		Dial: func(ctx context.Context, a transport.Addr) (net.Conn, error) {
			d := net.Dialer{KeepAlive: time.Minute}
			return d.DialContext(ctx, "tcp", a.String())
		},
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	at, _ := transport.ParseAddr("127.0.0.1:0")
	l, err := tr.Listen(at, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	client, err := tr.Connect(ctx, l.Addr())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	_, _ = client.Writev(ctx, []byte("over package net"))
	p := make([]byte, 16)
	_, _ = server.Readv(ctx, p)
	fmt.Printf("%s, can be handed over: %t\n", p, tr.Movable())
	// Output:
	// over package net, can be handed over: false
}
