package transport_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// Readers that sleep until the next byte comes, and readers that let more come for 200 us where
// messages come one way.
func ExampleWithPolling() {
	prompt := transport.WithPolling(transport.TCP(), 0)
	patient := transport.WithPolling(transport.TCP(), 200*time.Microsecond)

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	l, err := prompt.Listen(transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")), 0)
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
	s, err := patient.Connect(ctx, l.Addr())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	answer := make([]byte, 5)
	for range 100 {
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
