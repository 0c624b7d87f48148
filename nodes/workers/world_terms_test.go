package workers

import (
	"errors"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/link"
)

// partOf is what a worker has beside its node, and linkOf the lower half of a connection.
func partOf(n *nodes.Node) *part      { return insideOf(n).Router().(*part) }
func linkOf(c *nodes.Conn) *link.Conn { return insideOf(c.Node()).Link(c) }
func peerName(i int) string           { return "peer" + strconv.Itoa(i) + "@test" }

func duplicates(t testing.TB, fds []int) []int {
	t.Helper()
	var dups []int
	for _, fd := range fds {
		dups = append(dups, of(descriptor.Duplicate(fd)).must(t))
	}
	return dups
}

// again is the Config of a node that goes on as this one.
func again(n *nodes.Node) nodes.Config {
	cfg := *insideOf(n).Setting()
	cfg.Alive, cfg.Host = "", ""
	return cfg
}

// thawed ends a freeze that may have failed.
func thawed[F interface{ Thaw() }](f F, err error) error {
	if err == nil {
		f.Thaw()
	}
	return err
}

// reason receives a signal, and gives its reason.
func reason(t testing.TB, b *nodes.Mailbox, op dist.Op) (*nodes.Message, ei.Term) {
	t.Helper()
	m := receive(t, b)
	require.Equal(t, op, m.Op)
	require.Equal(t, b.Pid(), m.To)
	v := decode(t, m.Reason)
	return m, v
}

const noconnection = ei.Atom("noconnection")

var errFault = errors.New("a fault")
