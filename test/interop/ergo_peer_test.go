package interop

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/ergo-services/ergo"
	"github.com/ergo-services/ergo/etf"
	"github.com/ergo-services/ergo/gen"
	"github.com/ergo-services/ergo/node"
	"github.com/ergo-services/ergo/proto/dist"
)

// envErgo makes the test binary a node of ergo: "NAME COOKIE VERSION", with the version of the
// handshake. It is a process of its own because ergo leaves goroutines behind, and is not free of
// data races.
const envErgo = "CNODE_INTEROP_ERGO"

// serveErgo runs a node until the standard input ends, and prints "ready NAME PORT" once it can be
// reached. A line "connect NODE" makes it connect, "send NODE" send hello to the name box there.
// Its process peer is an ergoEcho.
// Its telemetry is off.
func serveErgo(args string) error {
	words := strings.Fields(args)
	if len(words) != 3 {
		return fmt.Errorf("%s=%q: want NAME COOKIE VERSION", envErgo, args)
	}
	n, port, err := startErgo(words[0], words[1], node.HandshakeVersion(words[2][0]-'0'))
	if err != nil {
		return err
	}
	p, err := n.Spawn("peer", gen.ProcessOptions{}, &ergoEcho{})
	if err != nil {
		return err
	}
	fmt.Printf("ready %s %d\n", n.Name(), port)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		verb, peer, _ := strings.Cut(lines.Text(), " ")
		switch verb {
		case "connect":
			err = n.Connect(peer)
		case "send":
			err = p.Send(gen.ProcessID{Name: "box", Node: peer}, etf.Atom("hello"))
		default:
			err = errors.New("unknown command")
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", lines.Text(), err)
		}
	}
	return nil
}

// An ergoEcho sends the second element of a pair to its first, a pid.
type ergoEcho struct{ gen.Server }

func (*ergoEcho) HandleInfo(p *gen.ServerProcess, message etf.Term) gen.ServerStatus {
	if pair, ok := message.(etf.Tuple); ok && len(pair) == 2 {
		if to, ok := pair[0].(etf.Pid); ok {
			_ = p.Send(to, pair[1])
		}
	}
	return gen.ServerStatusOK
}

func startErgo(name, cookie string, version node.HandshakeVersion) (node.Node, uint16, error) {
	mapper, err := strconv.ParseUint(os.Getenv("ERL_EPMD_PORT"), 10, 16)
	if err != nil {
		return nil, 0, fmt.Errorf("ERL_EPMD_PORT: %w", err)
	}
	number, _, err := port.Reserve() // it does not tell which port it has taken
	if err != nil {
		return nil, 0, err
	}
	n, err := ergo.StartNode(name, cookie, node.Options{
		System:    node.System{DisableAnonMetrics: true},
		Handshake: dist.CreateHandshake(dist.HandshakeOptions{Version: version}),
		Registrar: dist.CreateRegistrarWithRemoteEPMD("127.0.0.1", uint16(mapper)),
		Listeners: []node.Listener{{Listen: uint16(number), Hostname: "127.0.0.1"}},
	})
	return n, uint16(number), err
}
