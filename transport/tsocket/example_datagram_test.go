package tsocket_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/tsocket"
)

// A question and its answer over UDP: the server is bound only, the client connected to it.
func ExampleOpenUDP() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	at, _ := transport.ParseInet("ipv4", "127.0.0.1", 0)
	server, err := tsocket.OpenUDP(at, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client, err := tsocket.OpenUDP(nil, server.LocalAddr())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	if _, err := client.SendTo(ctx, []byte("who are you?"), nil); err != nil {
		fmt.Println(err)
	}
	p := make([]byte, 1500)
	n, from, err := server.RecvFrom(ctx, p)
	fmt.Println(string(p[:n]), from == client.LocalAddr(), err)
	if _, err := server.SendTo(ctx, []byte("a server"), from); err != nil {
		fmt.Println(err)
	}
	n, _, err = client.RecvFrom(ctx, p)
	fmt.Println(string(p[:n]), err)
	// Output:
	// who are you? true <nil>
	// a server <nil>
}

// Many goroutines send on one socket, and none gets ErrBusy.
func ExampleSendToQueue() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	at, _ := transport.ParseInet("ipv4", "127.0.0.1", 0)
	server, err := tsocket.OpenUDP(at, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client, err := tsocket.OpenUDP(nil, server.LocalAddr())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	var q transport.Queue
	var senders sync.WaitGroup
	for range 5 {
		senders.Go(func() {
			if _, err := tsocket.SendToQueue(ctx, &q, client, []byte("one of five"), nil); err != nil {
				fmt.Println(err)
			}
		})
	}
	senders.Wait()
	p := make([]byte, 1500)
	for range 5 {
		n, _, err := server.RecvFrom(ctx, p)
		if err != nil || string(p[:n]) != "one of five" {
			fmt.Println(string(p[:n]), err)
		}
	}
	fmt.Println("five have come")
	// Output: five have come
}
