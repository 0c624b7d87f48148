package virtual

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
)

// Logging the end of a direction is no data race with a write.
func TestTraceLogsBesideWrite(t *testing.T) {
	ctx := soon(t)
	for range 20 { // a race shows only once in a few rounds
		c, s := tracedPair(t, transport.NewMemory(), TraceOptions{Log: slog.New(silent{})})
		go func() { _, _ = io.Copy(io.Discard, transport.NetConn(s)) }()
		begun := make(chan struct{})
		sent := expect.Aside(func() error {
			for i := 0; ; i++ {
				if _, err := c.Writev(ctx, []byte("x")); err != nil {
					return err
				}
				if i == 0 {
					close(begun)
				}
			}
		})
		<-begun
		require.NoError(t, c.CloseWrite())
		require.ErrorIs(t, expect.Returns(t, sent), syscall.EPIPE)
	}
}

// silent is a handler that takes every record, and locks nothing.
type silent struct{ slog.Handler }

func (silent) Enabled(context.Context, slog.Level) bool  { return true }
func (silent) Handle(context.Context, slog.Record) error { return nil }
func (s silent) WithAttrs([]slog.Attr) slog.Handler      { return s }

func TestTraceBytes(t *testing.T) {
	for bytes, want := range map[int]int{0: 32, 5: 5, -1: 0} {
		require.Len(t, newTrace(TraceOptions{Bytes: bytes}).first([][]byte{make([]byte, 20), make([]byte, 20)}, 40), 2*want)
	}
}

// A log whose level is lowered shows the connections that were open before, too.
func TestTraceLogLevelChanges(t *testing.T) {
	var out bytes.Buffer
	var level slog.LevelVar
	o := TraceOptions{Log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: &level}))}
	c, s := pair(t, transport.NewMemory(), transport.MemoryAddr(""))
	c = open(t)(TraceStream(c, o))
	pass := func() string {
		requireWrites(t, c, "a")
		requireWrites(t, s, "b")
		require.NoError(t, expect.Err(c.Readv(soon(t), make([]byte, 1))))
		defer out.Reset()
		return out.String()
	}
	require.Empty(t, pass())
	level.Set(slog.LevelDebug)
	log := pass()
	for _, want := range []string{`msg=sent conn=1 bytes=1 offset=1 data=61`, `msg=received conn=1 bytes=1 offset=1 data=62`} {
		require.Contains(t, log, want)
	}
	level.Set(slog.LevelInfo)
	require.Empty(t, pass())
}

func TestTraceLog(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == "time" {
				return slog.Attr{}
			}
			return a
		}}))
	tr := transport.NewMemory()
	l := expect.Open(tr.Listen(transport.MemoryAddr("a"), 1)).In(t)
	c := expect.NoError(Trace(tr, TraceOptions{Log: log, Bytes: 3}).Connect(soon(t), l.Addr())).In(t)
	s := expect.NoError(l.Accept(soon(t))).In(t)
	requireWrites(t, c, "ab")
	requireWrites(t, c, "cdef")
	requireWrites(t, s, "xyz")
	require.NoError(t, expect.Err(c.Readv(soon(t), make([]byte, 3))))
	short, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	require.Error(t, expect.Err(c.Read(short, make([]byte, 1))))
	require.NoError(t, c.CloseWrite())
	require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, 6))))
	require.NoError(t, s.Close())
	require.Equal(t, io.EOF, expect.Err(c.Read(soon(t), make([]byte, 1))))
	require.Error(t, expect.Err(c.Writev(soon(t), []byte("x"))))
	require.NoError(t, c.Close())
	require.Equal(t, `level=DEBUG msg=connected conn=1 local=memory:client-1 remote=memory:a
level=DEBUG msg=sent conn=1 bytes=2 offset=0 data=6162
level=DEBUG msg=sent conn=1 bytes=4 offset=2 data=636465
level=DEBUG msg=received conn=1 bytes=3 offset=0 data=78797a
level=DEBUG msg="closed for writing" conn=1 sent=6
level=DEBUG msg="end of stream" conn=1 offset=3
level=DEBUG msg="write failed" conn=1 error="broken pipe"
level=DEBUG msg=closed conn=1
`, out.String())
}
