// Command policy keeps client connections for BEAMs, as cnode-front does, with a policy of its own:
// the clients of one network go to the worker that is made for them. Linux only.
package main

import (
	"context"
	"log"
	"net/netip"

	"github.com/cnode-go/cnode/contrib/front"
	"github.com/cnode-go/cnode/transport"
)

// policy sends clients of the office to the worker of that name while it is there, and all others
// to the worker with the fewest sessions.
func policy(s *front.Session, workers []front.Worker) int {
	office := netip.MustParsePrefix("192.0.2.0/24")
	client, err := transport.AddrPort(s.Remote)
	for i, w := range workers {
		if err == nil && office.Contains(client.Addr().Unmap()) && w.Name == "office" {
			return i
		}
	}
	return front.LeastSessions(s, workers)
}

func main() {
	ctx := context.Background()
	k, err := front.New(&front.Options{Policy: policy})
	if err != nil {
		log.Fatal(err)
	}
	if err := k.Workers(ctx, "/run/app/front.sock"); err != nil {
		log.Fatal(err)
	}
	l, err := k.Listen(ctx, "tcp", "0.0.0.0:4000")
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(k.Serve(ctx, l, nil))
}
