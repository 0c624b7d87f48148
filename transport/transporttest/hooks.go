package transporttest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// headerSize asks both ends for the size once, before the first byte.
func headerSize(t *trial) {
	var connecting, accepting atomic.Int64
	t.connectAnd(t.listen(0), func(ctx context.Context, s *stream, accepted bool) error {
		n, err := s.headerSize(ctx)
		if err != nil {
			return fmt.Errorf("HandshakePacketHeaderSize: %w", err)
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

// asksHeaderSize is the beginning of an end before a handshake.
func asksHeaderSize(ctx context.Context, s *stream, _ bool) error {
	_, err := s.headerSize(ctx)
	return err
}

// handshake opens a connection, and calls the callbacks of a successful handshake in their order;
// the hooks of the two ends run at the same time, as on two nodes. CheckPeer may refuse the name,
// and end the connection by that: then handshake closes it, and calls the hooks on another one.
// Over a carrier that keeps packets they have been called before.
func (t *trial) handshake(at site) (client, server *stream, refused, err error) {
	client, server = t.joinAnd(at, asksHeaderSize)
	if refused = t.checkPeer(client, server); refused != nil {
		t.caught(client.Close())
		t.caught(server.Close())
		client, server = t.joinAnd(at, asksHeaderSize)
	}
	if client.frames {
		return client, server, refused, nil
	}
	return client, server, refused, t.together(
		step{"ConnectHandshakeComplete", func(ctx context.Context) error { return client.HandshakeComplete(ctx, true) }},
		step{"AcceptHandshakeComplete", func(ctx context.Context) error { return server.HandshakeComplete(ctx, false) }},
	)
}

// checkPeer calls CheckPeer at both ends, and returns the errors of those that refuse the name.
func (t *trial) checkPeer(client, server *stream) (refused error) {
	ctx := t.soon()
	for _, s := range []*stream{client, server} {
		_, err := do(t, "CheckPeer", func() (none struct{}, _ error) { return none, s.CheckPeer(ctx, "transporttest@localhost") })
		t.caught(err)
		refused = errors.Join(refused, err)
	}
	return refused
}

// hooks makes a handshake, and then uses the connection.
func hooks(t *trial) {
	client, server, refused, err := t.handshake(t.listen(0))
	t.caught(err)
	if refused != nil && err != nil { // the hook may need a name that CheckPeer has accepted
		t.skip("CheckPeer refuses the suite's name: %v; without one: %v", refused, err)
	}
	t.must(err, "a handshake")
	for _, when := range []string{"after the handshake", "a moment later"} {
		// a direction that the hook has shut would not time out
		for _, s := range []*stream{client, server} {
			ctx := t.after(moment)
			if n, err := do(t, "Read", func() (int, error) { return s.Read(ctx, make([]byte, 1)) }); !isTimeout(err) {
				t.fail("%s a Read gave %d bytes and %w when nothing was sent", when, n, orNone(err))
			}
		}
		t.says(client, server, when)
		t.says(server, client, "both ways")
	}
}
