package transporttest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cnode-go/cnode/transport"
)

// headerSize asks both ends, once each, before the first byte.
func headerSize(t *trial) {
	var connecting, accepting atomic.Int64
	t.connectAnd(t.listen(0), func(ctx context.Context, s *transport.Stream, accepted bool) error {
		n, err := s.HandshakePacketHeaderSize(ctx)
		if err != nil {
			return fmt.Errorf("HandshakePacketHeaderSize: %w", err)
		}
		if n != 2 && n != 4 {
			return fmt.Errorf("HandshakePacketHeaderSize is %d", n)
		}
		if accepted {
			accepting.Store(int64(n))
		} else {
			connecting.Store(int64(n))
		}
		return nil
	})
	if c, s := connecting.Load(), accepting.Load(); c != s {
		t.fail("HandshakePacketHeaderSize is %d at the connecting end and %d at the accepting one", c, s)
	}
}

// asksHeaderSize is what an end does before a handshake.
func asksHeaderSize(ctx context.Context, s *transport.Stream, _ bool) error {
	_, err := s.HandshakePacketHeaderSize(ctx)
	return err
}

// handshake opens a connection, and calls what a handshake calls when it has succeeded, in its order; the hooks beside each other, as two
// nodes do. CheckPeer may refuse the name, and end the connection as it does: that is over then, and the hooks are called on another one.
func (t *trial) handshake(at site) (client, server *transport.Stream, refused, err error) {
	client, server = t.joinAnd(at, asksHeaderSize)
	if refused = t.checkPeer(client, server); refused != nil {
		t.caught(client.Close())
		t.caught(server.Close())
		client, server = t.joinAnd(at, asksHeaderSize)
	}
	return client, server, refused, t.together(
		step{"ConnectHandshakeComplete", func(ctx context.Context) error { return client.HandshakeComplete(ctx, true) }},
		step{"AcceptHandshakeComplete", func(ctx context.Context) error { return server.HandshakeComplete(ctx, false) }},
	)
}

// checkPeer asks both ends, and returns why one of them, or both, refuse the name.
func (t *trial) checkPeer(client, server *transport.Stream) (refused error) {
	ctx := t.soon()
	for _, s := range []*transport.Stream{client, server} {
		_, err := do(t, "CheckPeer", func() (none struct{}, _ error) { return none, s.CheckPeer(ctx, "transporttest@localhost") })
		t.caught(err)
		refused = errors.Join(refused, err)
	}
	return refused
}

// hooks makes a handshake, and goes on.
func hooks(t *trial) {
	client, server, refused, err := t.handshake(t.listen(0))
	t.caught(err)
	if refused != nil && err != nil { // it may want a name that CheckPeer has let in
		t.skip("CheckPeer refuses the suite's name: %v; without one: %v", refused, err)
	}
	t.must(err, "a handshake")
	for _, when := range []string{"after the handshake", "a moment later"} {
		for _, s := range []*transport.Stream{client, server} { // an end that has been shut has nothing to wait for
			ctx := t.after(moment)
			if n, err := do(t, "Read", func() (int, error) { return s.Read(ctx, make([]byte, 1)) }); !isTimeout(err) {
				t.fail("%s a Read gave %d bytes and %w when nothing was sent", when, n, orNone(err))
			}
		}
		t.says(client, server, when)
		t.says(server, client, "both ways")
	}
}
