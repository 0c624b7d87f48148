package transport_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// A node on a machine whose processors have other work to do, and a node that must answer as fast
// as it can.
func ExampleWithPolling() {
	thrifty := transport.WithPolling(transport.TCP(), 0)
	eager := transport.WithPolling(transport.TCP(), 200*time.Microsecond)

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	l, err := thrifty.Listen(transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")), 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	go func() {
		s, err := l.Accept(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer s.Close()
		question := make([]byte, 5)
		for range 100 {
			if _, err := s.Readv(ctx, question); err != nil {
				fmt.Println(err)
				return
			}
			if _, err := s.Writev(ctx, []byte("pong!")); err != nil {
				fmt.Println(err)
				return
			}
		}
	}()
	s, err := eager.Connect(ctx, l.Addr())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	answer := make([]byte, 5)
	for range 100 { // after some rounds the reader polls for the answer
		if _, err := s.Writev(ctx, []byte("ping?")); err != nil {
			fmt.Println(err)
			return
		}
		if _, err := s.Readv(ctx, answer); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(string(answer))
	// Output: pong!
}
