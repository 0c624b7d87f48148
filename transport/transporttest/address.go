package transporttest

import (
	"context"
	"errors"
	"syscall"

	"github.com/cnode-go/cnode/transport"
)

// boundAddress opens two listeners at once: each one's address must lead to that listener.
func boundAddress(t *trial) {
	one, two := t.listen(0), t.listen(0)
	t.connect(one)
	t.connect(two)
}

// connects makes a few connections to one listener, and lets all of them live at once.
func connects(t *trial) {
	at := t.listen(0)
	for range 4 {
		t.connect(at)
	}
}

// peerAddress compares the peer's address that Accept gives with the peer's own LocalAddr. They may
// differ if a proxy stands between the two ends: then Accept gives the proxy's address, which must
// differ from this end's and from that of another connection.
func peerAddress(t *trial) {
	at := t.listen(0)
	client, server := t.connect(at)
	peer := server.RemoteAddr()
	if peer == nil {
		t.fail("Accept gave no address of the peer")
	}
	mine := t.localAddr(client)
	if mine == nil || sameAddr(mine, peer) {
		return
	}
	if sameAddr(peer, at.l.Addr()) || sameAddr(peer, t.localAddr(server)) {
		t.fail("Accept gave %v, an address of its own end, as the peer's; the peer's own LocalAddr is %v", peer, mine)
	}
	client2, server2 := t.connect(at)
	if theirs := t.localAddr(client2); sameAddr(peer, server2.RemoteAddr()) && !sameAddr(mine, theirs) {
		t.fail("Accept gave %v as the address of two peers, whose own LocalAddr is %v and %v", peer, mine, theirs)
	}
	t.skip("something is between the two ends: the peer is %v, the other end %v", peer, mine)
}

// localAddress compares LocalAddr of an accepted stream with the address to which the peer has
// connected, which is not the peer's own.
func localAddress(t *trial) {
	at := t.listen(0)
	client, server := t.connect(at)
	local, bound := t.localAddr(server), at.l.Addr()
	if local == nil {
		t.skip("the plug-in does not tell LocalAddr")
	}
	if mine := t.localAddr(client); sameAddr(mine, bound) && !sameAddr(mine, server.RemoteAddr()) {
		t.fail("LocalAddr of a connecting stream is %v, the address that it has connected to; for the other end it is %v", mine,
			server.RemoteAddr())
	}
	if sameAddr(local, bound) {
		return
	}
	if b, err := transport.AddrPort(bound); err == nil && b.Addr().IsUnspecified() {
		if l, err := transport.AddrPort(local); err == nil && l.Port() == b.Port() {
			return // a wildcard listener: any address of the machine, the same port
		}
	}
	t.fail("LocalAddr of an accepted connection is %v; it was reached at %v", local, bound)
}

// namedAddress connects as Node.Connect does, to an address that carries the peer's node name. Only
// errors about the address count: a plug-in may well refuse the name.
func namedAddress(t *trial) {
	at := t.listen(0)
	host := "localhost"
	if ap, err := transport.AddrPort(at.l.Addr()); err == nil {
		host = ap.Addr().String()
	}
	accept := t.acceptAside(at)
	defer accept()
	ctx := t.soon()
	_, err := do(t, "Connect", keep(t, func() (*stream, error) {
		return asStream(at.tr.Connect(ctx, transport.WithPeerName(at.l.Addr(), "transporttest@"+host)))
	}))
	if err == nil {
		return
	}
	var cb *transport.CallbackError
	if errors.As(err, &cb) || errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EINVAL) ||
		errors.Is(err, syscall.EPROTONOSUPPORT) {
		t.fail("an address made by WithPeerName is not taken for what it is (its Unwrap method gives the address itself): %w", err)
	}
}

// acceptAside waits for one connection in the background, until stop is called.
func (t *trial) acceptAside(at site) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	accept := begin(t, "Accept", func() (*stream, error) {
		s, err := at.accepting(ctx, t)()
		if err == nil {
			_, _ = s.Read(ctx, make([]byte, 1)) // Connect may need this end to read
		}
		return s, err
	})
	return func() {
		cancel()
		_, _ = accept.end()
	}
}

// An oddAddr is an address of a kind that no plug-in knows.
type oddAddr struct{}

func (oddAddr) Network() string { return "transporttest-odd" }
func (oddAddr) String() string  { return "transporttest: no such kind of address" }

// oddAddress listens at and connects to an address of an unknown kind. A plug-in whose addresses
// are texts may listen there.
func oddAddress(t *trial) {
	at := t.listen(0)
	ctx := t.soon()
	_, err := do(t, "Connect", keep(t, func() (*stream, error) { return asStream(at.tr.Connect(ctx, oddAddr{})) }))
	if err == nil {
		t.fail("Connect to an address of an unknown kind, where nobody listens, succeeded")
	}
	t.caught(err)
	l, err := do(t, "Listen", keep(t, func() (*transport.Listener, error) { return at.tr.Listen(oddAddr{}, 0) }))
	if err == nil && l.Addr().String() != (oddAddr{}).String() {
		t.fail("Listen at an address of an unknown kind succeeded, at %v", l.Addr())
	}
	t.caught(err)
}

// caught ends the trial if err, which may be an expected error, is one in which the SDK reports a
// fault of the plug-in.
func (t *trial) caught(err error) {
	var cb *transport.CallbackError
	if errors.As(err, &cb) {
		t.fail("%w", err)
	}
}

// refusedConnect connects to an address whose listener has been closed. Another program may have
// taken the address meanwhile, so only a plug-in whose Connect succeeds every time is to blame.
func refusedConnect(t *trial) {
	const tries = 4
	for range tries {
		at := t.listen(0)
		t.must(at.l.Close(), "Close of a listener")
		ctx := t.soon()
		_, err := do(t, "Connect", at.connecting(ctx, t))
		if err != nil {
			t.caught(err)
			if isTimeout(err) {
				t.fail("Connect to %v, where nobody listens, was a time-out before its time: a refusal is an error of its own, as ECONNREFUSED",
					at.l.Addr())
			}
			return
		}
	}
	t.fail("Connect to an address where nobody listens succeeded, %d times of %d", tries, tries)
}
