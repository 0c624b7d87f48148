package epmd_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"strconv"
	"time"

	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/nodes/epmd"
)

// A port mapper inside the program, a node that registers there, and another that looks for it.
func Example() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	var server epmd.Server
	served := make(chan error)
	go func() { served <- server.Serve(l) }()

	ctx := context.Background()
	client := &epmd.Client{Addr: l.Addr().String()}
	held, err := client.Register(ctx, epmd.Registration{Name: "alice", Port: 4001})
	if err != nil {
		log.Fatal(err)
	}
	info, err := client.Resolve(ctx, "", "alice")
	if err != nil {
		log.Fatal(err)
	}
	version, _ := info.Version()
	fmt.Printf("%s is a %v node on port %d and speaks version %d\n", info.Name, info.Type, info.Port, version)

	held.Close()
	_, err = client.Resolve(ctx, "", "alice")
	fmt.Println(errors.Is(err, epmd.ErrNotRegistered))

	server.Close()
	fmt.Println(<-served)
	// Output:
	// alice is a hidden node on port 4001 and speaks version 6
	// true
	// epmd: server closed
}

// Where no port mapper runs, a program can be one.
func ExampleClient_Register_embedded() {
	free, release := freePort()
	defer release()
	environment := map[string]string{"ERL_EPMD_PORT": free}
	getenv := func(key string) string { return environment[key] } // in a program: os.Getenv
	addr, err := epmd.DefaultAddr(getenv)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	client := &epmd.Client{Addr: addr}
	reg := epmd.Registration{Name: "alice", Port: 4001}

	held, err := client.Register(ctx, reg)
	if errors.Is(err, epmd.ErrNoPortMapper) {
		fmt.Println("nobody listens there")
		addrs, err := epmd.ListenAddrs(getenv)
		if err != nil {
			log.Fatal(err)
		}
		listeners, err := epmd.Listen(ctx, addrs...)
		if err != nil {
			log.Fatal(err)
		}
		var server epmd.Server
		defer server.Close()
		for _, l := range listeners {
			go server.Serve(l)
		}
		held, err = client.Register(ctx, reg)
		if err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(held.Registration().Name, "is registered")
	held.Close()
	// Output:
	// nobody listens there
	// alice is registered
}

// A name kept over a restart of the port mapper.
func ExampleClient_Keep() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	addr := l.Addr().String()
	first := new(epmd.Server)
	go first.Serve(l)

	again := make(chan struct{})
	client := &epmd.Client{Addr: addr}
	name, err := client.Keep(context.Background(), epmd.Registration{Name: "alice", Port: 4001}, &epmd.KeepOptions{
		MinPause: time.Millisecond,
		Notify: func(e epmd.KeepEvent) {
			if e.Err == nil {
				close(again)
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	creation := name.Creation()

	first.Close()
	if l, err = net.Listen("tcp", addr); err != nil {
		log.Fatal(err)
	}
	second := new(epmd.Server)
	go second.Serve(l)
	<-again
	fmt.Println("registered again:", name.Err() == nil, "under the same creation:", name.Creation() == creation)

	name.Close()
	second.Close()
	// Output: registered again: true under the same creation: true
}

func ExampleListenAddrs() {
	getenv := func(key string) string { return map[string]string{"ERL_EPMD_ADDRESS": "10.0.0.7"}[key] }
	addrs, err := epmd.ListenAddrs(getenv)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(addrs)
	// Output: [127.0.0.1:4369 [::1]:4369 10.0.0.7:4369]
}

// freePort gives a port on which nobody listens, and which nobody else gets until it is released.
func freePort() (number string, release func()) {
	n, release, err := port.Reserve()
	if err != nil {
		log.Fatal(err)
	}
	return strconv.Itoa(n), release
}
