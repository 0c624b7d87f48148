package jsoncomm_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/jsoncomm"
)

// A server answers a request with a descriptor.
func ExampleSocket() {
	dir, err := os.MkdirTemp("/tmp", "example") // a socket's path must be short
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, path := context.Background(), filepath.Join(dir, "server")
	server, err := jsoncomm.NewServer(path, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client, err := jsoncomm.NewClient(transport.UnixAddr(path))
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
func ExamplePair() {
	ctx := context.Background()
	one, other, err := jsoncomm.Pair(nil)
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
