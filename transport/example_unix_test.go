//go:build unix

package transport_test

import (
	"context"
	"fmt"
	"log"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// A meter is the socket context of our plug-in: TCP's own, and counts of the bytes that have
// passed.
type meter struct {
	fd      int
	in, out *atomic.Int64
}

// metered is a plug-in of its own: TCP that counts bytes. It does without the callbacks that it
// does not fill in (Writev, the hooks, those for handing sockets over).
func metered(in, out *atomic.Int64) transport.Callbacks[meter] {
	tcp := transport.TCPCallbacks()
	wrap := func(fd int, err error) (meter, error) { return meter{fd, in, out}, err }
	return transport.Callbacks[meter]{
		Socket: func(setup any, a transport.Addr) (meter, error) { return wrap(tcp.Socket(setup, a)) },
		Close:  func(m meter) error { return tcp.Close(m.fd) },
		Listen: func(m meter, a transport.Addr, backlog int) (transport.Addr, error) {
			return tcp.Listen(m.fd, a, backlog)
		},
		Accept: func(m meter, tmo time.Duration) (meter, transport.Addr, error) {
			fd, peer, err := tcp.Accept(m.fd, tmo)
			return meter{fd, in, out}, peer, err
		},
		Connect: func(m meter, a transport.Addr, tmo time.Duration) error { return tcp.Connect(m.fd, a, tmo) },
		Read: func(m meter, p []byte, tmo time.Duration) (int, error) {
			n, err := tcp.Read(m.fd, p, tmo)
			m.in.Add(int64(n))
			return n, err
		},
		Write: func(m meter, p []byte, tmo time.Duration) (int, error) {
			n, err := tcp.Write(m.fd, p, tmo)
			m.out.Add(int64(n))
			return n, err
		},
		HandshakePacketHeaderSize: func(meter) (int, error) { return 2, nil },
		GetFD:                     func(m meter) (int, error) { return m.fd, nil },
	}
}

// A plug-in in 30 lines: the callbacks of TCP, wrapped with a context of our own. Package
// transporttest proves the result.
func ExampleCallbacks() {
	var in, out atomic.Int64
	tr, err := transport.New(metered(&in, &out), nil)
	if err != nil {
		log.Fatal(err)
	}
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

	_, _ = client.Writev(ctx, []byte("hello, "), []byte("world"))
	p := make([]byte, 12)
	_, _ = server.Readv(ctx, p)
	fmt.Printf("%s: %d bytes out, %d in\n", p, out.Load(), in.Load())
	// Output:
	// hello, world: 12 bytes out, 12 in
}
