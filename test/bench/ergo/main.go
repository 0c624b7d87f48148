// Ergo is the peer of the benchmark that is written with ergo v1, an independent implementation.
//
//	ergo NAME COOKIE   serves the name `peer`; prints "ready NAME PORT"
//
// Its telemetry is off. It decodes with one goroutine a connection: with several, which is its
// default, messages of one sender overtake each other, and a count would come before what it
// counts. It ends with its standard input.
package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"strconv"

	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/ergo-services/ergo"
	"github.com/ergo-services/ergo/etf"
	"github.com/ergo-services/ergo/gen"
	"github.com/ergo-services/ergo/node"
	"github.com/ergo-services/ergo/proto/dist"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: ergo NAME COOKIE")
		os.Exit(2)
	}
	if err := serve(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "ergo:", err)
		os.Exit(1)
	}
}

func serve(name, cookie string) error {
	epmd, err := strconv.ParseUint(os.Getenv("ERL_EPMD_PORT"), 10, 16)
	if err != nil {
		return fmt.Errorf("ERL_EPMD_PORT: %w", err)
	}
	number, _, err := port.Reserve() // ergo does not tell which port it has taken itself
	if err != nil {
		return err
	}
	proto := node.DefaultProtoOptions()
	proto.NumHandlers = 1
	n, err := ergo.StartNode(name, cookie, node.Options{
		System:    node.System{DisableAnonMetrics: true},
		Handshake: dist.CreateHandshake(dist.HandshakeOptions{Version: dist.HandshakeVersion6}),
		Proto:     dist.CreateProto(proto),
		Registrar: dist.CreateRegistrarWithRemoteEPMD("127.0.0.1", uint16(epmd)),
		Listeners: []node.Listener{{Listen: uint16(number), Hostname: "127.0.0.1"}},
	})
	if err != nil {
		return err
	}
	if _, err := n.Spawn("peer", gen.ProcessOptions{MailboxSize: math.MaxUint16}, &peer{}); err != nil {
		return err
	}
	fmt.Printf("ready %s %d\n", n.Name(), number)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// A peer is the process registered as `peer`.
type peer struct {
	gen.Server
	count int // messages sunk since the last report
}

// HandleInfo answers one message.
func (p *peer) HandleInfo(process *gen.ServerProcess, message etf.Term) gen.ServerStatus {
	t, ok := message.(etf.Tuple)
	if !ok || len(t) < 3 {
		return gen.ServerStatusOK
	}
	from, ok := t[1].(etf.Pid)
	if !ok {
		return gen.ServerStatusOK
	}
	var err error
	switch {
	case t[0] == etf.Atom("echo") && len(t) == 3:
		err = process.Send(from, t[2])
	case t[0] == etf.Atom("sink") && len(t) == 4:
		p.count++
		if t[2] == true {
			n := p.count
			p.count = 0
			err = process.Send(from, etf.Tuple{etf.Atom("count"), n})
		}
	case t[0] == etf.Atom("source") && len(t) == 4:
		for n := number(t[2]); n > 0 && err == nil; n-- {
			err = process.Send(from, t[3])
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ergo: send:", err)
	}
	return gen.ServerStatusOK
}

// number returns an integer as ergo decodes it: an int up to 255, else an int64.
func number(t etf.Term) int64 {
	switch n := t.(type) {
	case int:
		return int64(n)
	case int64:
		return n
	}
	return 0
}
