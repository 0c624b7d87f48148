package cnodequic_test

import (
	"testing"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/transporttest"
)

// These rules are skipped: those on descriptors and on moving, for there are none; that on resets,
// which the suite makes on a descriptor; and those on a Connect that waits in a listener's backlog,
// for QUIC's handshake is over before that, and a connection beyond the backlog is refused.
func TestConformance(t *testing.T) {
	tr := newAuthority(t).carried(t, "transporttest@127.0.0.1")
	transporttest.Run(t, func() (transport.Transport, transport.Addr, error) { return tr, loopback(t), nil })
}
