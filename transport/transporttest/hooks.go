package transporttest

import (
	"context"

	"github.com/cnode-go/cnode/transport"
)

// headerSize asks both ends, once each, before the first byte.
func headerSize(t *trial) {
	client, server := t.connect(t.listen(0))
	ask := func(s *transport.Stream) int {
		ctx := t.soon()
		n, err := do(t, "HandshakePacketHeaderSize", func() (int, error) { return s.HandshakePacketHeaderSize(ctx) })
		t.must(err, "HandshakePacketHeaderSize")
		if n != 2 && n != 4 {
			t.fail("HandshakePacketHeaderSize is %d", n)
		}
		return n
	}
	if c, s := ask(client), ask(server); c != s {
		t.fail("HandshakePacketHeaderSize is %d at the connecting end and %d at the accepting one", c, s)
	}
}

// hooks calls what a handshake calls, in its order. CheckPeer may refuse the name.
func hooks(t *trial) {
	client, server := t.connect(t.listen(0))
	headers := func(s *transport.Stream) {
		ctx := t.soon()
		_, err := do(t, "HandshakePacketHeaderSize", func() (int, error) { return s.HandshakePacketHeaderSize(ctx) })
		t.must(err, "HandshakePacketHeaderSize")
	}
	headers(client)
	headers(server)
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
