package front

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSettled(t *testing.T) {
	at := func(consumed, written int64) *point { return &point{at: counters{consumed, written}} }
	for _, tt := range []struct {
		name         string
		now          counters
		last, before *point
		want         *point
		surplus      int64
		takes        *point // the point of modeTakes
	}{
		{"nothing has happened", counters{}, at(0, 0), nil, at(0, 0), 0, at(0, 0)},
		{"read, and told nothing", counters{5, 0}, at(0, 0), nil, nil, 0, nil},
		{"answered, and told nothing", counters{5, 7}, at(0, 0), nil, nil, 0, nil},
		{"all is written", counters{5, 7}, at(5, 7), at(0, 0), at(5, 7), 0, at(5, 7)},
		{"all is written of what was only looked at", counters{0, 7}, at(5, 7), at(0, 0), at(5, 7), 5, nil},
		{"nothing of it is written", counters{0, 0}, at(5, 7), at(0, 0), at(0, 0), 0, at(0, 0)},
		{"nothing of it is written, and the last is not taken yet", counters{0, 7}, at(10, 14), at(5, 7), at(5, 7), 5, nil},
		{"miscounted, or not taken, and the one before stands", counters{5, 7}, at(9, 7), at(5, 7), at(9, 7), 4, at(5, 7)},
		{"half of it is written", counters{5, 3}, at(5, 7), at(0, 0), nil, 0, nil},
		{"taken, nothing written", counters{5, 0}, at(5, 7), at(0, 0), nil, 0, nil},
		{"no answer, dealt with", counters{0, 0}, at(5, 0), at(0, 0), at(5, 0), 5, at(0, 0)},
		{"more was taken than told", counters{9, 7}, at(5, 7), at(0, 0), nil, 0, nil},
		{"no point any more", counters{0, 0}, nil, nil, nil, 0, nil},
		{"counted backwards", counters{-1, 0}, at(0, 0), nil, nil, 0, nil},
	} {
		p, surplus := settled(tt.now, tt.last, tt.before, false)
		require.Equal(t, tt.want, p, tt.name)
		require.Equal(t, tt.surplus, surplus, tt.name)
		p, _ = settled(tt.now, tt.last, tt.before, true)
		require.Equal(t, tt.takes, p, tt.name)
	}
}

// Whatever a worker sends, a packet that is taken holds together, and what is kept of it is its
// own.
func FuzzPacket(f *testing.F) {
	f.Add([]byte{'r'})
	f.Add([]byte("t\x00\x00\x00\x00\x00\x00\x00\x01"))
	f.Add(append([]byte("m"), bytes.Repeat([]byte{0xff}, 28)...))
	f.Add(append([]byte("m"), make([]byte, 40)...))
	f.Add(append(append([]byte("m"), make([]byte, 28)...), make([]byte, MaxPoint+1)...))
	f.Fuzz(func(t *testing.T, p []byte) {
		k, ok := parsePacket(p)
		if !ok || k.kind != kindPoint || k.point == nil {
			return
		}
		q := k.point
		require.LessOrEqual(t, len(q.rest)+len(q.state), MaxPoint)
		require.GreaterOrEqual(t, q.at.consumed, int64(0))
		require.GreaterOrEqual(t, q.at.written, int64(0))
		require.Equal(t, p[pointHead:], append(bytes.Clone(q.rest), q.state...))
		was := bytes.Clone(q.rest)
		clear(p)
		require.Equal(t, was, q.rest)
	})
}

func FuzzProxy(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nrest"))
	f.Add([]byte(proxyMark + "\x21\x21\x00\x24" + "0123456789abcdef0123456789abcdef\x00\x01\x00\x02"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte("PROXY \r\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		h, size, err := parseProxy(p)
		require.LessOrEqual(t, size, len(p))
		if err != nil || size == 0 {
			require.False(t, h.remote.IsValid())
			return
		}
		require.Equal(t, h.remote.IsValid(), h.local.IsValid())
		for i := range size { // less of it is not enough, and no error
			_, n, err := parseProxy(p[:i])
			require.NoError(t, err)
			require.Zero(t, n)
		}
	})
}
