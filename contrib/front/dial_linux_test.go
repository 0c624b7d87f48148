package front

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/bind10"
)

// An asker is a worker that asks for connections.
type asker struct {
	*testWorker
	t *testing.T
	r *bind10.Receiver
}

func newAsker(t *testing.T, h *house) *asker {
	t.Helper()
	w, err := joinKeeper(h.path, "asker", "peek")
	require.NoError(t, err)
	r, err := bind10.NewReceiver(w.stream, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = r.Close()
		_ = w.control.Close()
	})
	return &asker{w, t, r}
}

func (a *asker) ask(number uint64, name, address string) { a.askWith(0, number, name, address) }

func (a *asker) askWith(flags byte, number uint64, name, address string) {
	p := binary.BigEndian.AppendUint64([]byte{kindOpen}, number)
	p = append(append(p, flags, byte(len(name))), name...)
	a.say(append(append(p, 0), address...))
}

// gets is the session that was asked for.
func (a *asker) gets(number uint64) (id uint64, how byte, state string, s *bind10.Session) {
	a.t.Helper()
	s = &bind10.Session{}
	require.NoError(a.t, a.r.Receive(a.t.Context(), s))
	d := s.Data
	require.EqualValues(a.t, dialMark, d[0])
	require.Equal(a.t, number, binary.BigEndian.Uint64(d[9:]))
	size := binary.BigEndian.Uint32(d[18:]) // of TLS
	require.Zero(a.t, size)
	size = binary.BigEndian.Uint32(d[22:])
	id = binary.BigEndian.Uint64(d[1:])
	a.word(kindTaken, id)
	return id, d[17], string(d[26 : 26+size]), s
}

// refused is the reason why there is no connection.
func (a *asker) refused(number uint64) byte {
	a.t.Helper()
	for p := make([]byte, 1500); ; {
		n, err := a.control.Receive(a.t.Context(), p, nil, 0)
		require.NoError(a.t, err)
		if p[0] == kindFailed {
			require.Equal(a.t, number, binary.BigEndian.Uint64(p[1:]))
			require.Greater(a.t, n, 10, "a text")
			return p[9]
		}
		require.EqualValues(a.t, kindPause, p[0])
	}
}

func (a *asker) begin(id, number uint64) {
	a.say(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte{kindBegin}, id), number))
}

// gives gives a session back at a point.
func (a *asker) gives(id uint64, s *bind10.Session, state string) {
	a.say(appendPoint(id, 0, 0, nil, []byte(state)))
	_ = s.Close()
	a.word(kindGivenBack, id)
}

func listenFar(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// allowAll has no pauses that a test would notice, and takes any certificate.
func allowAll() *DialOptions {
	return &DialOptions{Pause: time.Millisecond, LongestPause: time.Millisecond, Allow: anywhere,
		TLS: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // nobody knows that of the tests
}

// A connection waits for who asks for its name, with its state; with another address it is made
// anew, and the old one ends.
func TestDialAgain(t *testing.T) {
	one, two := listenFar(t), listenFar(t)
	h := newHouse(t, &Options{Dial: allowAll()}, nil)
	a := newAsker(t, h)
	a.ask(1, "n", one.Addr().String())
	c, err := one.Accept()
	require.NoError(t, err)
	defer c.Close()
	id, how, state, s := a.gets(1)
	require.EqualValues(t, isNew, how)
	require.Empty(t, state)
	a.ask(2, "n", one.Addr().String())
	require.EqualValues(t, badName, a.refused(2))
	a.gives(id, s, "state")
	h.until("it waits", func(s Stats) bool { return s.Unclaimed == 1 })
	a.ask(3, "n", one.Addr().String())
	id, how, state, s = a.gets(3)
	require.EqualValues(t, isKept, how)
	require.Equal(t, "state", state)
	a.gives(id, s, state)
	h.until("it waits", func(s Stats) bool { return s.Unclaimed == 1 })

	a.ask(4, "n", two.Addr().String())
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	other, err := two.Accept()
	require.NoError(t, err)
	id, how, state, s = a.gets(4)
	require.EqualValues(t, isNew, how)
	require.Empty(t, state)
	_ = s.Close()
	a.word(kindDone, id)
	_, err = other.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, other.Close())
	require.EqualValues(t, 2, h.k.Stats().Dialled)
}

// Nobody asks for a connection in time.
func TestDialUnclaimed(t *testing.T) {
	far, o := listenFar(t), allowAll()
	o.MaxUnclaimedAge = 20 * time.Millisecond
	h := newHouse(t, &Options{Dial: o}, nil)
	a := newAsker(t, h)
	a.ask(1, "n", far.Addr().String())
	c, err := far.Accept()
	require.NoError(t, err)
	defer c.Close()
	id, _, _, s := a.gets(1)
	a.gives(id, s, "state")
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	h.until("it has expired", func(s Stats) bool { return s.Expired == 1 && s.Sessions == 0 })
}

// What may not be had, or cannot be read, has no connection made.
func TestDialRefused(t *testing.T) {
	h := newHouse(t, nil, nil)
	a := newAsker(t, h)
	a.ask(1, "n", "127.0.0.1:1")
	require.EqualValues(t, badAddress, a.refused(1), "a front that makes none")

	far, o := listenFar(t), allowAll()
	o.Allow = func(_ handoff.Cred, name, _ string) error {
		if name == "bad" {
			return errors.New("not that one")
		}
		return nil
	}
	h = newHouse(t, &Options{Dial: o, MaxParked: 1}, nil)
	a = newAsker(t, h)
	a.ask(1, "bad", far.Addr().String())
	require.EqualValues(t, badAddress, a.refused(1))
	a.ask(2, "n", "no port")
	require.EqualValues(t, unreachable, a.refused(2))
	for _, p := range []string{"", "\x00", "\x00\x00", "\x00\x05abc", "\x00\x01a", "\x00\x01a\x05b", "\xff\x00\x00x"} {
		a.say(append(binary.BigEndian.AppendUint64([]byte{kindOpen}, 9), p...))
	}
	a.say(binary.BigEndian.AppendUint64([]byte{kindBegin}, 99))
	a.ask(3, "n", far.Addr().String())
	_, how, _, s := a.gets(3)
	require.EqualValues(t, isNew, how)
	defer s.Close()
	a.ask(4, "m", far.Addr().String())
	require.EqualValues(t, badName, a.refused(4), "too many names")
	a.say(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte{kindBegin}, h.id(t, "n")), 5))
	require.EqualValues(t, badTLS, a.refused(5), "not asked for")
	h.k.mu.Lock()
	defer h.k.mu.Unlock()
	_, err := h.k.mayClaim(&claim{worker: newWorker("", handoff.Cred{UID: 1 << 20}, nil, nil, nil), Wait: true}, "n")
	var r refused
	require.ErrorAs(t, err, &r)
	require.EqualValues(t, badName, r.reason, "another user's")
}

// id is the session of a name.
func (h *house) id(t *testing.T, name string) uint64 {
	t.Helper()
	h.k.mu.Lock()
	defer h.k.mu.Unlock()
	require.NotNil(t, h.k.names[name].session)
	return h.k.names[name].session.id
}

// A name is dialled less and less often, while it fails.
func TestDialPauses(t *testing.T) {
	k, err := New(&Options{Dial: &DialOptions{Allow: anywhere, Pause: time.Second, LongestPause: 10 * time.Second}})
	require.NoError(t, err)
	defer k.Close()
	n := &name{}
	for i := range 100 {
		before := time.Now()
		k.pause(n, errors.New("in vain"))
		about := min(time.Second<<min(i, 20), 10*time.Second)
		require.GreaterOrEqual(t, n.Next.Sub(before), about/2)
		require.Less(t, n.Next.Sub(before), about*3/2+time.Second)
	}
}

// Connections that last for less than the longest pause are made less and less often, also with the
// default pauses.
func TestDialShortLived(t *testing.T) {
	k, err := New(&Options{Dial: &DialOptions{Allow: anywhere}})
	require.NoError(t, err)
	defer k.Close()
	n := &name{}
	end := func(after time.Duration) {
		k.ended(&session{outgoing: outgoing{name: n, Since: time.Now().Add(-after)}})
	}
	for range 5 {
		end(time.Second)
	}
	require.Equal(t, 5, n.Tries)
	require.Greater(t, time.Until(n.Next), 7*time.Second)
	end(2 * defaultLongestPause)
	require.Equal(t, 1, n.Tries)
}

// A worker that has no descriptor free gets the connection again.
func TestDialNoDescriptor(t *testing.T) {
	far := listenFar(t)
	h := newHouse(t, &Options{Dial: allowAll()}, nil)
	a := newAsker(t, h)
	a.ask(1, "n", far.Addr().String())
	for range 2 {
		s := &bind10.Session{}
		require.NoError(t, a.r.Receive(t.Context(), s))
		_ = s.Close()
		a.word(kindRefused, binary.BigEndian.Uint64(s.Data[1:]))
	}
	_, how, _, s := a.gets(1)
	defer s.Close()
	require.EqualValues(t, isNew, how)
	require.EqualValues(t, 1, h.k.Stats().Dialled)
}

// Names are written down as text: two that are none would be one after an upgrade.
func TestDialNoText(t *testing.T) {
	far := listenFar(t)
	h := newHouse(t, &Options{Dial: allowAll()}, nil)
	a := newAsker(t, h)
	a.ask(1, "x\xff", far.Addr().String())
	require.EqualValues(t, badName, a.refused(1))
}

// A connection that nobody has any more while the front stops does not hold it up.
func TestDialShutdown(t *testing.T) {
	far := listenFar(t)
	h := newHouse(t, &Options{Dial: allowAll()}, nil)
	a := newAsker(t, h)
	a.askWith(flagLater, 1, "n", far.Addr().String())
	id, _, _, s := a.gets(1)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- h.k.Shutdown(ctx) }()
	p := make([]byte, 100)
	_, err := a.control.Receive(t.Context(), p, nil, 0)
	require.NoError(t, err)
	require.EqualValues(t, kindStop, p[0])
	a.gives(id, s, "state")
	require.NoError(t, <-stopped)
}

// TLS is to begin in a connection that the peer has ended.
func TestDialBeginEnded(t *testing.T) {
	far := listenFar(t)
	h := newHouse(t, &Options{Dial: allowAll()}, nil)
	a := newAsker(t, h)
	for number, wait := range map[uint64]time.Duration{1: 0, 3: 50 * time.Millisecond} {
		a.askWith(flagLater, number, "n", far.Addr().String())
		c, err := far.Accept()
		require.NoError(t, err)
		id, _, _, s := a.gets(number)
		require.NoError(t, c.Close())
		time.Sleep(wait)
		a.begin(id, number+1)
		require.EqualValues(t, badTLS, a.refused(number+1))
		_ = s.Close()
		a.word(kindDone, id)
	}
}

// A front moves while TLS begins: who goes on must not speak without TLS.
func TestDialBeginUpgrade(t *testing.T) {
	far := listenFar(t)
	h := newHouse(t, &Options{Dial: allowAll()}, nil)
	a := newAsker(t, h)
	a.askWith(flagLater, 1, "n", far.Addr().String())
	c, err := far.Accept()
	require.NoError(t, err)
	defer c.Close()
	id, _, _, s := a.gets(1)
	defer s.Close()
	a.begin(id, 2)
	hello := make([]byte, 1)
	_, err = io.ReadFull(c, hello)
	require.NoError(t, err)
	_, err = h.give("tcp 127.0.0.1:0")
	require.NoError(t, err)
	server := tls.Server(&prefixed{c, hello}, serverTLS())
	require.NoError(t, server.Handshake())
	fd, err := s.Socket.Steal(0)
	require.NoError(t, err)
	mine, err := connOf(fd)
	require.NoError(t, err)
	defer mine.Close()
	_, _ = mine.Write([]byte("secret")) // it may have ended
	_ = server.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, err = server.Read(make([]byte, 10))
	require.ErrorIs(t, err, io.EOF)
}

// prefixed is a connection of which some bytes were read.
type prefixed struct {
	net.Conn
	first []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if n := copy(b, p.first); n > 0 {
		p.first = p.first[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

// A name has so many who wait for it, and no more.
func TestDialManyWait(t *testing.T) {
	far := listenFar(t)
	h := newHouse(t, &Options{Dial: allowAll()}, nil)
	a := newAsker(t, h)
	a.ask(1, "n", far.Addr().String())
	_, _, _, s := a.gets(1)
	defer s.Close()
	for i := range uint64(mostClaims) {
		a.askWith(flagWait, 2+i, "n", far.Addr().String())
	}
	a.askWith(flagWait, 1000, "n", far.Addr().String())
	require.EqualValues(t, badName, a.refused(1000))
}

// anywhere allows all addresses.
func anywhere(handoff.Cred, string, string) error { return nil }

func TestDialWithoutAllow(t *testing.T) {
	_, err := New(&Options{Dial: &DialOptions{}})
	require.ErrorContains(t, err, "Options.Dial has no Allow")
}
