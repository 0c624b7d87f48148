package nodes

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	carrier "github.com/cnode-go/cnode/internal/test/packets"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/virtual"
)

// over puts a node on a faulty transport.
func over(o virtual.FaultOptions) func(*Config) {
	return func(cfg *Config) { cfg.Transport = virtual.Fault(carrier.Patient(cfg.Transport), o) }
}

// echoing makes nodes answer cnode:echo/1.
func echoing(nodes ...*Node) {
	for _, n := range nodes {
		n.Expose("cnode", "echo", func(_ context.Context, args []ei.Term) (any, error) { return args[0], nil })
	}
}

// converse connects a to b, calls and is called, and sends something large.
func converse(ctx context.Context, a, b *Node) error {
	c, err := a.Connect(ctx, b.Name())
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	for i, n := range []*Node{a, b, a, b} {
		var other ei.Term = ei.Int(i)
		if i == 3 {
			other = ei.Binary(strings.Repeat("x", 100_000))
		}
		to := map[*Node]*Node{a: b, b: a}[n]
		got, err := n.RPC(ctx, to.Name(), "cnode", "echo", other)
		if err != nil {
			return fmt.Errorf("call %d: %w", i, errors.Join(err, c.Err()))
		}
		if ei.Compare(got, other) != 0 {
			return fmt.Errorf("call %d: a wrong answer of %d bytes", i, len(got.String()))
		}
	}
	return nil
}

// Nodes converse when every read and write carries one byte, each of them late.
func TestFaultEveryByteAlone(t *testing.T) {
	for _, kind := range kinds[:3] { // not over packets, which are not cut
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, kind)
			// The handshake and the first messages byte by byte, what comes after it in pieces.
			var at []virtual.FaultAt
			for i := range int64(400) {
				for _, write := range []bool{false, true} {
					at = append(at,
						virtual.FaultAt{Kind: virtual.FaultSplit, Offset: i, Write: write},
						virtual.FaultAt{Kind: virtual.FaultDelay, Offset: i, Write: write, For: 50 * time.Microsecond})
				}
			}
			var faults atomic.Int64
			o := virtual.GentleFaults(1)
			o.At, o.Done = at, func(virtual.FaultEvent) { faults.Add(1) }
			a, b := w.started("alice", over(o)), w.started("bob", over(o))
			echoing(a, b)
			require.NoError(t, converse(w.ctx(), a, b))
			require.Greater(t, faults.Load(), int64(1600), "two ends, two directions, two faults a byte")
		})
	}
}

// A connection that is reset, at whichever byte of the handshake or of the first messages, in
// either direction, at either end: both nodes are told why, and can connect again.
func TestFaultResetAtEveryByte(t *testing.T) {
	begin, step := int64(0), int64(1)
	if testing.Short() {
		step = 17
	}
	for _, kind := range []string{"tcp", "memory"} {
		for _, end := range []string{"connecting", "accepting"} {
			for _, write := range []bool{false, true} {
				direction := map[bool]string{false: "read", true: "written"}[write]
				first := begin % step
				begin++
				t.Run(kind+" "+end+" "+direction, func(t *testing.T) {
					t.Parallel()
					for offset := first; resetAt(t, kind, end, write, offset); offset += step {
						require.Less(t, offset, int64(5000))
					}
				})
			}
		}
	}
}

// resetAt tries a reset at one byte; false if the conversation did not get that far.
func resetAt(t *testing.T, kind, end string, write bool, offset int64) bool {
	var fired atomic.Bool
	side := map[string]virtual.FaultSide{"connecting": virtual.FaultConnected, "accepting": virtual.FaultAccepted}[end]
	faulty := over(virtual.FaultOptions{
		At:   []virtual.FaultAt{{Kind: virtual.FaultReset, Side: side, Conn: 1, Write: write, Offset: offset}},
		Done: func(virtual.FaultEvent) { fired.Store(true) },
	})
	plain := func(*Config) {}
	ends := map[string]func(*Config){"connecting": plain, "accepting": plain}
	ends[end] = faulty
	// no test may depend on this timeout
	untimed := func(cfg *Config) { cfg.HandshakeTimeout = time.Hour }
	refused := make(chan error, 10)
	w := newWorld(t, kind)
	a := w.started("alice", untimed, ends["connecting"])
	b := w.started("bob", untimed, ends["accepting"], func(cfg *Config) {
		cfg.HandshakeFailed = func(_ transport.Addr, err error) { refused <- err }
	})
	echoing(a, b)
	talk := func() error {
		ca, err := a.Connect(w.ctx(), b.Name())
		if err != nil {
			return err
		}
		if _, err := ca.RPC(w.ctx(), "cnode", "echo", 1); err != nil {
			return errors.Join(err, ca.Err())
		}
		cb := b.Conn(a.Name())
		if cb == nil {
			return errors.Join(errGone, ca.Err())
		}
		_, err = cb.RPC(w.ctx(), "cnode", "echo", 2)
		return errors.Join(err, cb.Err())
	}
	err := talk()
	what := fmt.Sprintf("reset at byte %d: %v", offset, err)
	require.NotErrorIs(t, err, context.DeadlineExceeded, what)
	if !fired.Load() {
		require.NoError(t, err, what)
		require.NoError(t, errors.Join(a.Close(), b.Close()))
		return false
	}
	// The reset may come behind the last byte for which a node waited.
	if err != nil {
		known := errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, errGone) || isEnd(err)
		require.True(t, known, what)
		if end == "connecting" && !errors.Is(err, errGone) && a.Conn(b.Name()) == nil && handshakeError(err) != nil {
			var fault *virtual.FaultError
			require.ErrorAs(t, err, &fault, what)
			require.ErrorContains(t, err, fmt.Sprintf("injected reset at byte %d", offset))
		}
	}
	again := func() bool { return a.Conn(b.Name()) == nil && b.Conn(a.Name()) == nil }
	require.Eventually(t, again, tooLong, tick, "both know of the end: %s", what)
	// The connection of the broken handshake may be put on the table after that of the next one,
	// and supersede it.
	for range 5 {
		if err = talk(); err == nil || handshakeError(err) == nil {
			break
		}
	}
	require.NoError(t, err, "once more: %s", what)
	select {
	case err := <-refused:
		require.Error(t, err)
		require.NotErrorIs(t, err, context.DeadlineExceeded, what)
	default:
	}
	require.NoError(t, errors.Join(a.Close(), b.Close()))
	return true
}

var errGone = errors.New("the connection is gone")

// isEnd tells whether an error is the end of the stream.
func isEnd(err error) bool { return strings.Contains(err.Error(), "EOF") }

func handshakeError(err error) *dist.HandshakeError {
	var e *dist.HandshakeError
	if errors.As(err, &e) {
		return e
	}
	return nil
}
