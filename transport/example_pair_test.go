//go:build unix

package transport_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// Two ends of a pair in one process, one of which could be given to a child.
func ExampleUnixPair() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	one, other, err := transport.UnixPair()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer one.Close()
	defer other.Close()
	if _, err := one.Writev(ctx, []byte("hello, "), []byte("world")); err != nil {
		fmt.Println(err)
	}
	p := make([]byte, 12)
	_, err = other.Readv(ctx, p)
	fmt.Println(string(p), err)
	// Output: hello, world <nil>
}

// Packets with a length of four bytes before them: many writers on one end, two readers on the
// other, each of which gets whole packets.
func ExampleQueue() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	one, other, err := transport.UnixPair()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer one.Close()
	defer other.Close()

	var all sync.WaitGroup
	var out, in transport.Queue
	for i := range 4 {
		all.Go(func() {
			body := fmt.Sprint("packet ", i)
			if _, err := out.Writev(ctx, one, binary.BigEndian.AppendUint32(nil, uint32(len(body))), []byte(body)); err != nil {
				fmt.Println(err)
			}
		})
	}
	packets := make(chan string, 4)
	for range 2 {
		all.Go(func() {
			for range 2 {
				var head [4]byte
				var body []byte
				step := 0
				_, err := in.ReadPDU(ctx, other, func() ([][]byte, error) {
					switch step++; step {
					case 1:
						return [][]byte{head[:]}, nil
					case 2:
						// a real program has a limit here
						body = make([]byte, binary.BigEndian.Uint32(head[:]))
						return [][]byte{body}, nil
					}
					return nil, nil
				})
				if err != nil {
					fmt.Println(err)
				}
				packets <- string(body)
			}
		})
	}
	all.Wait()
	close(packets)
	for p := range packets {
		fmt.Println(p)
	}
	// Unordered output:
	// packet 0
	// packet 1
	// packet 2
	// packet 3
}
