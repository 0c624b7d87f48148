package handoff_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/tsocket"
)

// A front accepts a connection, reads the beginning, and gives both to a worker, which goes on with
// the client. Here both are in one process.
func ExampleForwarder() {
	dir, err := os.MkdirTemp("/tmp", "example") // a socket's path must be short
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, path := context.Background(), filepath.Join(dir, "worker")

	workers, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		log.Fatal(err)
	}
	defer workers.Close()
	done := make(chan error)
	go func() { done <- work(ctx, workers) }()

	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer front.Close()
	client, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	fmt.Fprint(client, "name=gopher")

	f, err := handoff.NewForwarder(path)
	if err != nil {
		log.Fatal(err)
	}
	if err := f.Connect(ctx); err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	accepted, err := front.Accept()
	if err != nil {
		log.Fatal(err)
	}
	start := make([]byte, len("name="))
	if _, err := io.ReadFull(accepted, start); err != nil {
		log.Fatal(err)
	}
	if err := f.PushConn(accepted.(*net.TCPConn), start); err != nil {
		log.Fatal(err) // the worker has not got it, or not all of it: the session is still ours
	}
	accepted.Close()

	answer, err := io.ReadAll(client)
	fmt.Println(string(answer), err, <-done)
	// Output: hello, gopher <nil> <nil>
}

func work(ctx context.Context, l *net.UnixListener) error {
	conn, err := l.AcceptUnix()
	if err != nil {
		return err
	}
	r, err := handoff.NewReceiver(conn, nil)
	if err != nil {
		return err
	}
	defer r.Close()
	var s handoff.Session
	if err := r.Receive(ctx, &s); err != nil {
		return err
	}
	defer s.Close()
	fd, err := s.Socket.FD(0)
	if err != nil {
		return err
	}
	stream, err := tsocket.AdoptStream(fd)
	if err != nil {
		return err
	}
	defer stream.Close()
	if _, err := s.Socket.Steal(0); err != nil { // it is the stream's now
		return err
	}
	name := make([]byte, len("gopher"))
	if _, err := stream.Readv(ctx, name); err != nil {
		return err
	}
	_, err = stream.Writev(ctx, []byte("hello, "), name)
	return err
}

// A message with an open file.
func ExampleMessageConn() {
	ctx := context.Background()
	one, other, err := handoff.SocketPair()
	if err != nil {
		log.Fatal(err)
	}
	a, err := handoff.FileConn(one)
	if err != nil {
		log.Fatal(err)
	}
	b, err := handoff.FileConn(other)
	if err != nil {
		log.Fatal(err)
	}
	from, err := handoff.NewMessageConn(a, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer from.Close()
	to, err := handoff.NewMessageConn(b, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer to.Close()

	r, w, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	if err := from.Send(ctx, []byte("write here"), w); err != nil {
		log.Fatal(err)
	}
	w.Close() // the message has it

	data, f, err := to.Receive(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(data))
	fmt.Fprint(f, "through a pipe")
	f.Close()
	text, err := io.ReadAll(r)
	fmt.Println(string(text), err)
	r.Close()
	// Output:
	// write here
	// through a pipe <nil>
}

// Both ends of a pipe in a message each, with one system call to send and one to receive.
func ExampleConn_SendBatch() {
	ctx := context.Background()
	var ends [2]*handoff.Conn
	one, other, err := handoff.PacketPair()
	if err != nil {
		log.Fatal(err)
	}
	for i, f := range []*os.File{one, other} {
		c, err := handoff.FileConn(f)
		if err != nil {
			log.Fatal(err)
		}
		if ends[i], err = handoff.NewConn(c); err != nil {
			log.Fatal(err)
		}
		defer ends[i].Close()
	}
	r, w, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	err = handoff.Lend(func(fds []int) error {
		n, err := ends[0].SendBatch(ctx, []handoff.Packet{
			{P: []byte("to read"), FDs: fds[:1]},
			{P: []byte("to write"), FDs: fds[1:]},
		})
		fmt.Println(n, "sent")
		return err
	}, r, w)
	if err != nil {
		log.Fatal(err)
	}
	r.Close()
	w.Close() // the messages have them

	var room [8]handoff.Packet
	for i := range room {
		room[i] = handoff.Packet{P: make([]byte, 100), Set: new(handoff.FDSet), Room: 1}
	}
	n, err := ends[1].ReceiveBatch(ctx, room[:])
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range room[:n] {
		if p.Err != nil {
			log.Fatal(p.Err) // this one is lost
		}
		fmt.Println(string(p.P[:p.N]), p.Set.Len())
		p.Set.Close()
	}
	// Output:
	// 2 sent
	// to read 1
	// to write 1
}

// A client of a service gets a connection of its own to it.
func ExampleSendPipe() {
	ctx := context.Background()
	one, other, err := handoff.SocketPair()
	if err != nil {
		log.Fatal(err)
	}
	client, err := handoff.FileConn(one)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	service, err := handoff.FileConn(other)
	if err != nil {
		log.Fatal(err)
	}
	defer service.Close()

	endpoint, err := handoff.SendPipe(ctx, client, []byte("clock"))
	if err != nil {
		log.Fatal(err)
	}
	defer endpoint.Close()

	name, f, err := handoff.Receive(ctx, service)
	if err != nil {
		log.Fatal(err)
	}
	conn, err := handoff.FileConn(f)
	if err != nil {
		log.Fatal(err)
	}
	if err := handoff.Send(ctx, conn, append([]byte("this is the "), name...), nil); err != nil {
		log.Fatal(err)
	}
	conn.Close()

	answer, _, err := handoff.Receive(ctx, endpoint)
	fmt.Println(string(answer), err)
	_, _, err = handoff.Receive(ctx, endpoint)
	fmt.Println(err)
	// Output:
	// this is the clock <nil>
	// EOF
}

// A server answers a request with a descriptor.
func ExampleJSONSocket() {
	dir, err := os.MkdirTemp("/tmp", "example") // a socket's path must be short
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, path := context.Background(), filepath.Join(dir, "server")
	server, err := handoff.NewJSONServer(path, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client, err := handoff.NewJSONClient(transport.UnixAddr(path))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	type request struct{ Open string }
	if err := client.Send(ctx, request{os.DevNull}); err != nil {
		log.Fatal(err)
	}

	var asked request
	none, from, err := server.Receive(ctx, &asked)
	if err != nil {
		log.Fatal(err)
	}
	none.Close()
	f, err := os.Open(asked.Open)
	if err != nil {
		log.Fatal(err)
	}
	err = handoff.Lend(func(fds []int) error { return server.SendTo(ctx, from, []string{"opened"}, fds...) }, f)
	if err != nil {
		log.Fatal(err)
	}
	f.Close()

	var answer []string
	fds, _, err := client.Receive(ctx, &answer)
	if err != nil {
		log.Fatal(err)
	}
	defer fds.Close()
	file, err := fds.File(0, "answer")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	fmt.Println(answer, len(text), err)
	// Output: [opened] 0 <nil>
}

// A long document goes in a file in memory, and nobody sees it.
func ExampleJSONPair() {
	ctx := context.Background()
	one, other, err := handoff.JSONPair(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer one.Close()
	defer other.Close()
	if err := one.Send(ctx, make([]int, 1_000_000)); err != nil {
		log.Fatal(err)
	}
	var numbers []int
	fds, err := other.Receive(ctx, &numbers)
	if err != nil {
		log.Fatal(err)
	}
	defer fds.Close()
	fmt.Println(len(numbers), fds.Len())
	// Output: 1000000 0
}
