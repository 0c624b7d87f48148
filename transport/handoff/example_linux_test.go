package handoff_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/cnode-go/cnode/transport/handoff"
)

// Both ends of a pipe, in a message each.
func ExampleConn() {
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
		if err := ends[0].Send(ctx, []byte("to read"), fds[0]); err != nil {
			return err
		}
		return ends[0].Send(ctx, []byte("to write"), fds[1])
	}, r, w)
	if err != nil {
		log.Fatal(err)
	}
	r.Close()
	w.Close() // the messages have them

	p := make([]byte, 100)
	for range 2 {
		var set handoff.FDSet
		n, err := ends[1].Receive(ctx, p, &set, 1)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(p[:n]), set.Len())
		set.Close()
	}
	// Output:
	// to read 1
	// to write 1
}
