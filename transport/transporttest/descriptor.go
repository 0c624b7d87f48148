package transporttest

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// A described is a stream or listener with the descriptor that it first gave.
type described struct {
	name string
	of   interface{ Descriptor() (int, error) }
	fd   int
}

// descriptors asks several open sockets for their descriptors, repeatedly.
func descriptors(t *trial) {
	at := t.listen(0)
	var all []described
	add := func(name string, of interface{ Descriptor() (int, error) }) {
		fd, err := do(t, "Descriptor", of.Descriptor)
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			fd = -1
		case err != nil:
			t.fail("the descriptor of the %s: %w", name, err)
		}
		for _, o := range all {
			if (fd < 0) != (o.fd < 0) {
				t.fail("the %s has the descriptor %d, the %s %d: all of a plug-in's sockets have one, or none has", name, fd, o.name, o.fd)
			}
			if fd >= 0 && fd == o.fd {
				t.fail("the %s and the %s are both open and both have descriptor %d", name, o.name, fd)
			}
		}
		all = append(all, described{name, of, fd})
	}
	add("listener", at.l)
	client, server := t.connect(at)
	add("connecting stream", client)
	add("accepted stream", server)
	client2, server2 := t.connect(at)
	add("second connecting stream", client2)
	add("second accepted stream", server2)
	again := func(when string) {
		for _, d := range all {
			fd, err := do(t, "Descriptor", d.of.Descriptor)
			if errors.Is(err, errors.ErrUnsupported) {
				fd, err = -1, nil
			}
			t.must(err, "the descriptor of the %s %s", d.name, when)
			if fd != d.fd {
				t.fail("the descriptor of the %s was %d and is %d %s", d.name, d.fd, fd, when)
			}
		}
	}
	again("a moment later")
	if all[0].fd < 0 {
		t.skip("the plug-in has no descriptors")
	}
	if t.sends(client, server) && t.sends(server, client) && t.sends(client2, server2) {
		again("after bytes have been exchanged")
	}
}

// sends passes a byte from one end to the other, and reports whether that worked within a short
// time. If it did not, another rule reports it.
func (t *trial) sends(from, to *stream) bool {
	ctx := t.soon()
	write := begin(t, "Writev", func() (int64, error) { return from.Writev(ctx, []byte{1}) })
	read := begin(t, "Readv", func() (int64, error) { return to.Readv(ctx, make([]byte, 1)) })
	return write.endsWithin(4*short) && write.err == nil && read.endsWithin(4*short) && read.err == nil
}

// closeOnExec looks at the descriptors of all kinds of sockets.
func closeOnExec(t *trial) {
	at := t.listen(0)
	check := func(name string, of interface{ Descriptor() (int, error) }) {
		fd, err := do(t, "Descriptor", of.Descriptor)
		if err != nil {
			t.skip("the plug-in has no descriptors")
		}
		on, ok := closesOnExec(fd)
		if !ok {
			t.skip("a descriptor cannot be asked here whether child processes get it")
		}
		if !on {
			t.fail("the descriptor of the %s is not close-on-exec: child processes get it, and keep the connection open", name)
		}
	}
	check("listener", at.l)
	client, server := t.join(at)
	check("connecting stream", client)
	check("accepted stream", server)
	if at.tr.Movable() && canDuplicate {
		check("imported stream", t.move(at, "connecting", client, func() {}))
	}
}

// waited returns the descriptor on which the SDK waits for a stream; false if the plug-in has none,
// or waits by itself (FullImpl).
func waited(s *stream) (syscall.RawConn, bool) {
	raw, err := s.SyscallConn()
	if err != nil {
		return nil, false
	}
	err = raw.Write(func(uintptr) bool { return true })
	return raw, !errors.Is(err, errors.ErrUnsupported)
}

// mode checks the blocking mode of descriptors after each kind of operation.
func mode(t *trial) {
	at := t.listen(0)
	listens, known := modeOf(at.l)
	client, server := t.connectAnd(at, t.leavesMode)
	if now, ok := modeOf(at.l); ok && known && now != listens {
		t.fail("after an Accept the listener's descriptor is non-blocking: %t; before it: %t", now, listens)
	}
	fd, err := do(t, "Descriptor", client.Descriptor)
	if err != nil {
		t.skip("the plug-in has no descriptors")
	}
	first, ok := nonblocking(fd)
	if !ok {
		t.skip("the mode of a descriptor cannot be asked for here")
	}
	if _, ok := waited(client); ok && !first {
		t.fail("the descriptor is in blocking mode, although the SDK has made it non-blocking")
	}
	check := func(when string) {
		for _, s := range []*stream{client, server} {
			if now, ok := modeOf(s); ok && now != first {
				t.fail("%s the descriptor is non-blocking: %t; before it: %t", when, now, first)
			}
		}
	}
	check("when connected")
	if !t.sends(client, server) {
		return
	}
	check("after a write and a read")
	pending := begin(t, "PendingBytes", server.PendingBytes)
	if !pending.endsWithin(4 * short) {
		return
	}
	check("after PendingBytes")
	once := t.after(moment)
	read := begin(t, "Read", func() (int, error) { return server.Read(once, make([]byte, 4)) })
	if !read.endsWithin(4 * short) {
		return
	}
	check("after a read that timed out")
	read = begin(t, "Read", func() (int, error) { return server.Read(transport.NoWait(), make([]byte, 4)) })
	if !read.endsWithin(4 * short) {
		return
	}
	check("after a read with a time of 0")
	t.modeAtEnds(at, client, server, check)
	t.modeChecked(at)
}

// leavesMode is the beginning of an end whose mode is compared around HandshakePacketHeaderSize.
func (t *trial) leavesMode(ctx context.Context, s *stream, accepted bool) error {
	found, known := modeOf(s)
	ctx, cancel := context.WithTimeout(ctx, t.s.patience/2)
	defer cancel()
	_ = asksHeaderSize(ctx, s, accepted) // left to other rules
	if now, ok := modeOf(s); ok && known && now != found {
		return fmt.Errorf("after HandshakePacketHeaderSize the descriptor is non-blocking: %t; before it: %t", now, found)
	}
	return nil
}

// modeChecked checks the mode after CheckPeer, on a connection of its own, since CheckPeer may end
// it.
func (t *trial) modeChecked(at site) {
	client, server := t.join(at)
	ctx := t.after(t.s.patience / 2)
	for _, s := range []*stream{client, server} {
		found, known := modeOf(s)
		_, _ = do(t, "CheckPeer", func() (none struct{}, _ error) { return none, s.CheckPeer(ctx, "transporttest@localhost") })
		if now, ok := modeOf(s); ok && known && now != found {
			t.fail("after CheckPeer the descriptor is non-blocking: %t; before it: %t", now, found)
		}
	}
}

// modeOf is the mode of a socket's descriptor, if it has one that can be asked.
func modeOf(of interface{ Descriptor() (int, error) }) (on, ok bool) {
	fd, err := of.Descriptor()
	if err != nil {
		return false, false
	}
	return nonblocking(fd)
}

// modeAtEnds checks the mode after what is done with a connection once: the hooks, a move and
// CloseWrite. What fails or hangs is left to other rules.
func (t *trial) modeAtEnds(at site, client, server *stream, check func(when string)) {
	if client.frames {
		check("after a handshake and its hooks")
		return
	}
	ctx := t.soon()
	aside := func(what string, op func() error) *call[struct{}] {
		return begin(t, what, func() (struct{}, error) { return struct{}{}, op() })
	}
	connected := aside("ConnectHandshakeComplete", func() error { return client.HandshakeComplete(ctx, true) })
	accepted := aside("AcceptHandshakeComplete", func() error { return server.HandshakeComplete(ctx, false) })
	if !connected.endsWithin(4*short) || !accepted.endsWithin(4*short) {
		return
	}
	check("after the handshake's hooks")
	if at.tr.Movable() && canDuplicate {
		var c cargo
		export := aside("Export", func() (err error) { c.state, c.ahead, err = client.Export(); return err })
		if !export.endsWithin(4*short) || export.err != nil {
			return
		}
		check("after an Export")
		fd, err := client.Descriptor()
		if err != nil {
			return
		}
		dup, err := sys.Dup(fd)
		t.must(err, "duplicating descriptor %d", fd)
		imported := aside("Import", func() error {
			_, err := keep(t, func() (*stream, error) { return asStream(at.tr.Import(dup, c.state)) })()
			if err != nil {
				_ = sys.Close(dup)
			}
			return err
		})
		if !imported.endsWithin(4*short) || imported.err != nil {
			return
		}
		check("after an Import of a duplicate")
	}
	if aside("CloseWrite", server.CloseWrite).endsWithin(4 * short) {
		check("after CloseWrite")
	}
}
