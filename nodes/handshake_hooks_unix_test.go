//go:build unix

package nodes

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport"
)

// A journal notes the callbacks of its plug-in that a node calls, in order; consecutive reads and
// writes are one entry.
type journal struct {
	mu      sync.Mutex
	entries []string
}

func (j *journal) write(entry string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if entry != "bytes" || len(j.entries) == 0 || j.entries[len(j.entries)-1] != entry {
		j.entries = append(j.entries, entry)
	}
}

// handshake is the entries without the reads and writes that come after the hook.
func (j *journal) handshake() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	entries := slices.Clone(j.entries)
	if n := len(entries); n > 3 && entries[n-1] == "bytes" {
		return entries[:n-1]
	}
	return entries
}

// transport is the TCP one with callbacks that are noted.
func (j *journal) transport(t *testing.T) transport.Transport {
	cb := transport.TCPCallbacks()
	well := cb
	cb.Read = func(fd int, p []byte, tmo time.Duration) (int, error) { j.write("bytes"); return well.Read(fd, p, tmo) }
	cb.Write = func(fd int, p []byte, tmo time.Duration) (int, error) {
		j.write("bytes")
		return well.Write(fd, p, tmo)
	}
	cb.Writev = nil // so that all writes go through Write
	cb.HandshakePacketHeaderSize = func(fd int) (int, error) { j.write("size"); return well.HandshakePacketHeaderSize(fd) }
	cb.ConnectHandshakeComplete = func(int) error { j.write("connected"); return nil }
	cb.AcceptHandshakeComplete = func(int) error { j.write("accepted"); return nil }
	return of(transport.New(cb, nil)).must(t)
}

// A plug-in is asked for the header's size once, before the first byte, and each side's hook is
// called once, when the handshake has succeeded; if it fails, not at all.
func TestHandshakeHooks(t *testing.T) {
	for _, cookie := range []string{"secret", "wrong"} {
		t.Run("cookie "+cookie, func(t *testing.T) {
			w := newWorld(t, "tcp")
			var ours, theirs journal
			a := w.started("alice", func(cfg *Config) { cfg.Transport, cfg.Cookie = ours.transport(t), cookie })
			b := w.started("bob", func(cfg *Config) { cfg.Transport = theirs.transport(t) })
			_, err := a.Connect(w.ctx(), "bob@test")
			if cookie == "wrong" {
				require.Error(t, err)
				require.NoError(t, b.Close()) // its side of the handshake is over
				require.Equal(t, []string{"size", "bytes"}, ours.handshake())
				require.Equal(t, []string{"size", "bytes"}, theirs.handshake())
				return
			}
			require.NoError(t, err)
			require.Eventually(t, func() bool { return b.Conn("alice@test") != nil }, tooLong, tick)
			require.Equal(t, []string{"size", "bytes", "connected"}, ours.handshake())
			require.Equal(t, []string{"size", "bytes", "accepted"}, theirs.handshake())
		})
	}
}

// A slow CheckPeer keeps no other peer from connecting, even if everything that its own peer has to
// say came at once.
func TestSlowCheckPeerKeepsNobody(t *testing.T) {
	inWorlds(t, kinds, func(t *testing.T, w *world) {
		checked, proceed := make(chan struct{}), make(chan struct{})
		b := w.started("bob", func(cfg *Config) {
			cfg.HandshakeTimeout = time.Hour
			cfg.CheckPeer = func(_ context.Context, name string) error {
				if name == "slow@test" {
					close(checked)
					<-proceed
				}
				return nil
			}
		})
		defer close(proceed)
		l := b.Listeners()[0]
		l.stopped.Shut()
		require.NoError(t, l.l.Pause(soon(t)))
		opened := async(func() (*wire, error) { // some connect only once they are accepted
			p, name := w.wire(l), namePacket(t, "slow@test")
			if w.kind == "packets" {
				name = name[2:]
			}
			return p, p.Write(name)
		})
		if w.kind != "memory" && w.kind != "packets" {
			require.NoError(t, arrives(t, opened, "what the peer has to say").err)
		}
		l.l.Resume()
		l.stopped.Open()
		arrives(t, checked, "the check of the slow one")
		w.peer(l, role("quick@test"))
		w.conn(b, "quick@test")
	})
}
