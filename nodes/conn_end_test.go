package nodes

import (
	"context"
	"errors"
	"io"
	"maps"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/states"
)

// A connection can be used as soon as it is found on the table.
func TestConnIsCompleteWhenFound(t *testing.T) {
	w := newWorld(t, "memory")
	b, l := w.listening("bob")
	a := w.node("alice")
	for range 50 {
		limit := w.ctx()
		found := async(func() (*Conn, error) {
			for ; limit.Err() == nil; runtime.Gosched() {
				if c := b.Conn("alice@test"); c != nil {
					return c, c.SendName(w.ctx(), "x", c.Self())
				}
			}
			return nil, errors.New("never found")
		})
		ca, cb := w.join(a, b, l)
		r := <-found
		require.NoError(t, r.err)
		require.Same(t, cb, r.v)
		require.NotZero(t, cb.Self())
		require.Equal(t, cb.Self(), receive(t, ca).From)
		require.NoError(t, errors.Join(ca.Close(), cb.Close()))
	}
}

// Links and monitors that come over a connection are broken by its end, however shortly before the
// end they come: none outlives it.
func TestEndBreaksWhatCameBefore(t *testing.T) {
	w := newWorld(t, "memory")
	b := w.started("bob")
	for range 50 {
		box := trapping(t, b)
		p := w.peer(b.Listeners()[0], role("wire@test"))
		c := w.conn(b, "wire@test")
		go func() {
			for i := range 20 {
				from := ei.Pid{Node: "wire@test", ID: uint32(i + 1), Creation: 77}
				ref := ei.Ref{Node: "wire@test", Creation: 77, Len: 3, ID: [5]uint32{uint32(i)}}
				if p.Write(frame(t, dist.Control{Op: dist.OpLink, From: from, To: box.Pid()}, nil)) != nil {
					return
				}
				if p.Write(frame(t, dist.Control{Op: dist.OpMonitorP, From: from, To: box.Pid(), Ref: ref}, nil)) != nil {
					return
				}
			}
		}()
		_, err := p.ReadFrame(ctxWhile(t, func() bool { return len(linksOf(box)) == 0 }))
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, c.Close())
		require.Empty(t, linksOf(box))
		require.Empty(t, watchersOf(box))
		require.NoError(t, box.Close())
		p.Close()
	}
}

// ctxWhile is a context that lasts as long as a condition.
func ctxWhile(t testing.TB, cond func() bool) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	limit := soon(t)
	go func() {
		defer cancel()
		for cond() && limit.Err() == nil {
			runtime.Gosched()
		}
	}()
	return ctx
}

func linksOf(b *Mailbox) map[ei.Pid]states.Link {
	b.mu.Lock()
	defer b.mu.Unlock()
	links := map[ei.Pid]states.Link{}
	for _, l := range b.bondState("").Links {
		links[l.Pid] = states.Link{Active: l.Active, UnlinkID: l.UnlinkID}
	}
	return links
}

// A node that has lost its peer connects to it anew for the next message, at whichever moment that
// is sent; monitors that are made over the new connection are not broken by the end of the old one.
func TestReconnectOnDemand(t *testing.T) {
	w := newWorld(t, "memory")
	a := w.started("alice")
	b := w.started("bob")
	there := registered(t, b, "there")
	here := box(t, a)
	for i := range 100 {
		require.NoError(t, here.SendName(w.ctx(), "bob@test", "there", i), i)
		require.Equal(t, ei.Int(i), term(t, there))

		c := a.Conn("bob@test")
		if i%2 == 0 {
			c = b.Conn("alice@test")
		}
		go c.Close()
		<-c.Done()
		if i%4 > 1 { // else at once
			<-c.l.Left()
		}
		for _, n := range []*Node{a, b} { // the other side takes a moment to notice
			if other := n.Conn(map[*Node]string{a: "bob@test", b: "alice@test"}[n]); other != nil {
				<-other.Done()
			}
		}
		ref, err := here.Monitor(w.ctx(), there.Pid())
		require.NoError(t, err, i)
		require.Eventually(t, func() bool { return len(watchersOf(there)) > 0 }, tooLong, tick/10)
		require.Contains(t, watchingOf(here), ref, "the new monitor lives")
		here.Demonitor(context.Background(), ref)
		require.Eventually(t, func() bool { return len(watchersOf(there)) == 0 }, tooLong, tick/10)
	}
	require.Zero(t, unread(here), "no DOWN")
}

// unread counts the bytes in a mailbox.
func unread(b *Mailbox) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.inbox.Bytes()
}

func watchingOf(b *Mailbox) map[ei.Ref]bonds.Target {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Collect(b.bonds.Watching())
}

func watchersOf(b *Mailbox) map[bonds.MonitorID]bonds.Watcher {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Collect(b.bonds.Watchers())
}

// Whatever the reason for which a connection ends, it is returned where it is asked for.
func TestEndReasons(t *testing.T) {
	w := newWorld(t, "tcp")
	b, l := w.listening("bob")
	for name, tt := range map[string]struct {
		end  func(p *wire, c *Conn)
		want error
	}{
		"closed here":  {func(_ *wire, c *Conn) { c.Close() }, ErrClosed},
		"closed there": {func(p *wire, _ *Conn) { p.Close() }, io.EOF},
		"in a frame":   {func(p *wire, _ *Conn) { p.Write([]byte{0, 0, 0, 9, 'p'}); p.Close() }, io.ErrUnexpectedEOF},
		"in a length":  {func(p *wire, _ *Conn) { p.Write([]byte{0, 0}); p.Close() }, io.ErrUnexpectedEOF},
	} {
		p, c := w.joined(l, role("wire@test"))
		received := async(func() (*Message, error) { return c.Receive(w.ctx()) })
		tt.end(p, c)
		require.ErrorIs(t, arrives(t, received, "the end of Receive").err, tt.want, name)
		require.ErrorIs(t, ended(t, c), tt.want, name)
		require.ErrorIs(t, c.Send(w.ctx(), p.Self, 1), tt.want, name)
		require.ErrorIs(t, c.Flush(w.ctx()), tt.want, name)
		<-c.l.Left()
	}
	_, c := w.joined(l, role("wire@test"))
	require.NoError(t, b.Close())
	require.ErrorIs(t, c.Err(), ErrClosed)
}
