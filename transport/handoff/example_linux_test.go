package handoff_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/cnode-go/cnode/transport/handoff"
)

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
