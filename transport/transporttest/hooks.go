package transporttest

import (
	"context"
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

// hooks calls what a handshake calls, in its order. CheckPeer may refuse the name.
func hooks(t *trial) {
	client, server := t.connectAnd(t.listen(0), func(ctx context.Context, s *transport.Stream, _ bool) error {
		_, err := s.HandshakePacketHeaderSize(ctx)
		return err
	})
	if err := t.greet(client, server); err != nil {
		t.broke("Exchange", "%w", err)
		return
	}
	step := func(what string, f func(ctx context.Context) error) error {
		ctx := t.soon()
		_, err := do(t, what, func() (struct{}, error) { return struct{}{}, f(ctx) })
		return err
	}
	for _, s := range []*transport.Stream{client, server} {
		if err := step("CheckPeer", func(ctx context.Context) error { return s.CheckPeer(ctx, "transporttest@localhost") }); err != nil {
			t.caught(err)
		}
	}
	t.must(step("ConnectHandshakeComplete", func(ctx context.Context) error { return client.HandshakeComplete(ctx, true) }),
		"ConnectHandshakeComplete")
	t.must(step("AcceptHandshakeComplete", func(ctx context.Context) error { return server.HandshakeComplete(ctx, false) }),
		"AcceptHandshakeComplete")
	t.says(client, server, "after the handshake")
	t.says(server, client, "both ways")
}
