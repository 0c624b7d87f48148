package beam_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/beam"
)

// A message with an open file.
func ExampleConn() {
	ctx := context.Background()
	from, to, err := beam.Pair(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer from.Close()
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

// A client of a service gets a connection of its own to it.
func ExampleSendPipe() {
	ctx := context.Background()
	one, other, err := beam.SocketPair()
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

	endpoint, err := beam.SendPipe(ctx, client, []byte("clock"))
	if err != nil {
		log.Fatal(err)
	}
	defer endpoint.Close()

	name, f, err := beam.Receive(ctx, service)
	if err != nil {
		log.Fatal(err)
	}
	conn, err := handoff.FileConn(f)
	if err != nil {
		log.Fatal(err)
	}
	if err := beam.Send(ctx, conn, append([]byte("this is the "), name...), nil); err != nil {
		log.Fatal(err)
	}
	conn.Close()

	answer, _, err := beam.Receive(ctx, endpoint)
	fmt.Println(string(answer), err)
	_, _, err = beam.Receive(ctx, endpoint)
	fmt.Println(err)
	// Output:
	// this is the clock <nil>
	// EOF
}
