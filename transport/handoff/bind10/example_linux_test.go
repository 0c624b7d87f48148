package bind10_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff/bind10"
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

	f, err := bind10.NewForwarder(path)
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
	r, err := bind10.NewReceiver(conn, nil)
	if err != nil {
		return err
	}
	defer r.Close()
	var s bind10.Session
	if err := r.Receive(ctx, &s); err != nil {
		return err
	}
	defer s.Close()
	fd, err := s.Socket.FD(0)
	if err != nil {
		return err
	}
	stream, err := transport.AdoptStream(fd)
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
