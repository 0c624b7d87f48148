//go:build unix

package nodes

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// immovable is TCP without Import.
func immovable(t testing.TB) transport.Transport {
	cb := transport.TCPCallbacks()
	cb.Name, cb.Import = "stuck", nil
	return of(transport.New(cb, nil)).must(t)
}

// talkative is TCP whose Close says goodbye, as TLS does, and whose Release must not.
func talkative(t testing.TB) transport.Transport {
	cb := transport.TCPCallbacks()
	cb.Name = "talkative"
	cb.Close = func(fd int) error {
		_, _ = unix.Write(fd, []byte("bye"))
		return unix.Close(fd)
	}
	return of(transport.New(cb, nil)).must(t)
}

// keyed is TCP whose state has keys in it.
func keyed(t *testing.T, export func() []byte) transport.Transport {
	cb := transport.TCPCallbacks()
	cb.Name = "keyed"
	cb.Export = func(int) ([]byte, error) { return export(), nil }
	return of(transport.New(cb, nil)).must(t)
}

// Neither the end of a connection in the old process, nor a Discard in the new one, sends anything
// to the peer.
func TestMoveSaysNothing(t *testing.T) {
	r, p := newWorld(t, "tcp").shuttled(true, func(c *Config) { c.Transport = talkative(t) })
	for i := range 5 {
		f := freeze(t, r.c)
		require.NoError(t, of(r.n[1-r.here].Stage(f.State(), duplicates(t, f.Descriptors())[0])).must(t).Discard())
		f.Thaw()
		r.move()
		require.NoError(t, r.c.Send(soon(t), p.Self(), i))
		require.Equal(t, p.Self(), receive(t, p).To)
	}
}

// A connection whose plug-in cannot export its state, or does not come back from a write, stays
// here as if nothing had happened, and can move later.
func TestFreezeOfAilingPlugin(t *testing.T) {
	var fault atomic.Value // the callback
	fault.Store("")
	entered, proceed := make(chan struct{}), make(chan struct{})
	well := transport.TCPCallbacks()
	cb := well
	cb.Name = "ailing"
	cb.Export = func(int) ([]byte, error) {
		if fault.Load() == "Export" {
			return nil, errFault
		}
		return nil, nil
	}
	cb.Writev = nil // so that Write gets all
	cb.Write = func(fd int, p []byte, tmo time.Duration) (int, error) {
		if fault.CompareAndSwap("Write", "") {
			close(entered)
			<-proceed
		}
		return well.Write(fd, p, tmo)
	}
	tr := of(transport.New(cb, nil)).must(t)
	w := newWorld(t, "tcp")
	peer := box(t, w.started("peer"))
	r := w.shuttle("peer@test", true, func(c *Config) { c.Transport = tr })
	works := func() {
		t.Helper()
		b := box(t, r.c.n)
		require.NoError(t, b.Send(w.ctx(), peer.Pid(), "there"))
		receive(t, peer)
		require.NoError(t, peer.Send(w.ctx(), b.Pid(), "back"))
		receive(t, b)
		require.NoError(t, b.Link(w.ctx(), peer.Pid())) // which would wait for the end of a freeze
		require.NoError(t, b.Unlink(w.ctx(), peer.Pid()))
	}

	fault.Store("Export")
	_, err := r.c.Freeze(w.ctx())
	require.ErrorIs(t, err, errFault)
	works()
	_, err = r.c.Detach(w.ctx())
	require.ErrorIs(t, err, errFault)
	works()
	fault.Store("")
	r.move()
	works()

	fault.Store("Write")
	b := box(t, r.c.n)
	sent := async(func() (any, error) { return nil, b.Send(w.ctx(), peer.Pid(), "late") })
	arrives(t, entered, "the write")
	short, cancel := context.WithTimeout(w.ctx(), 10*time.Millisecond)
	defer cancel()
	_, err = r.c.Detach(short)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, r.c.Err())
	close(proceed)
	require.NoError(t, arrives(t, sent, "the end of Send").err)
	receive(t, peer)
	works()
	r.move()
	works()
}

// Keys that a plug-in exports are erased from the exported state once the connection or the node
// goes on, here or elsewhere.
func TestExportedKeysAreCleared(t *testing.T) {
	keys := []byte("the keys of the session")
	var exports [][]byte
	tr := keyed(t, func() []byte {
		exports = append(exports, bytes.Clone(keys))
		return exports[len(exports)-1]
	})
	w := newWorld(t, "tcp")
	w.started("peer")
	r := w.shuttle("peer@test", true, func(c *Config) { c.Transport = tr })
	has := func(state []byte) { t.Helper(); require.Contains(t, string(state), string(keys)) }
	gone := func(state []byte) {
		t.Helper()
		require.NotEmpty(t, state)
		require.NotContains(t, string(state), string(keys))
		for _, b := range exports {
			require.Equal(t, make([]byte, len(keys)), b)
		}
		exports = nil
	}

	f := freeze(t, r.c)
	has(f.State())
	f.Thaw()
	gone(f.State())
	m := detach(t, r.c)
	has(m.State)
	r.c = adopt(t, r.n[1], m)
	gone(m.State)

	f = freeze(t, r.c)
	moved := Moved{bytes.Clone(f.State()), duplicates(t, f.Descriptors())[0]}
	closed := Moved{bytes.Clone(f.State()), -1}
	require.NoError(t, f.Release())
	gone(f.State())
	has(closed.State)
	require.NoError(t, closed.Close())
	gone(closed.State)
	r.c = adopt(t, r.n[0], &moved)

	r.c = adopt(t, r.n[1], detach(t, r.c))
	for _, end := range []func(*Frozen){(*Frozen).Thaw, func(f *Frozen) { require.NoError(t, f.Release()) }} {
		f := freeze(t, r.n[1])
		has(f.State())
		end(f)
		gone(f.State())
	}
}

// The new process, too, erases the keys from the state that it was given, once it goes on; until
// then it may have to stage the state again.
func TestGivenKeysAreCleared(t *testing.T) {
	keys := []byte("the keys of the session")
	tr := keyed(t, func() []byte { return bytes.Clone(keys) })
	w := newWorld(t, "tcp")
	w.started("peer")
	r := w.shuttle("peer@test", true, func(c *Config) { c.Transport = tr })

	f := freeze(t, r.c)
	given := bytes.Clone(f.State())
	one := of(r.n[1].Stage(given, duplicates(t, f.Descriptors())[0])).must(t)
	require.Contains(t, string(given), string(keys))
	require.NoError(t, f.Release())
	of(one.Start(w.ctx())).must(t)
	require.NotContains(t, string(given), string(keys))

	all := freeze(t, r.n[1])
	given = bytes.Clone(all.State())
	s := of(Restore(again(r.n[1]), given, duplicates(t, all.Descriptors()))).must(t)
	t.Cleanup(func() { require.NoError(t, s.Node().Close()) })
	require.Contains(t, string(given), string(keys))
	require.NoError(t, all.Release())
	require.NoError(t, s.Start(w.ctx()))
	require.NotContains(t, string(given), string(keys))
}
