package peers

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
)

// conn is a connection of these tests.
type conn struct {
	err     error
	left    chan struct{}
	made    int64
	entered int
}

func (c *conn) Err() error                 { return c.err }
func (c *conn) Left() <-chan struct{}      { return c.left }
func (c *conn) IsOutdated(made int64) bool { return c.made < made }
func (c *conn) OnEntered()                 { c.entered++ }

func up() *conn    { return &conn{made: 10} }
func ended() *conn { return &conn{made: 10, err: errors.New("ended")} }

func open() error { return nil }

// begin starts an attempt, whose context tells why it was cancelled.
func begin(order uint64) (*Attempt, context.Context) {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &Attempt{Peer: "bob", Order: order, Cancel: cancel}, ctx
}

// A scene is a table on which something is known of bob.
type scene struct {
	Table
	ours    *Attempt
	oursCtx context.Context
	c       *conn
}

// set makes a scene: a connection, and how far an attempt of ours has come.
func set(t *testing.T, e *Entry, ours Stage) *scene {
	s := &scene{}
	if e != nil {
		s.c = e.Conn.(*conn)
		e.Peer = "bob"
		s.Put(*e)
	}
	if ours == None {
		return s
	}
	s.ours, s.oursCtx = begin(0)
	if e != nil { // it came up beside the attempt
		s.Leave("bob", s.c, Ended)
	}
	require.True(t, s.Begin(s.ours, false))
	if e != nil {
		s.Put(*e)
	}
	if ours >= Named {
		s.GiveName(s.ours)
	}
	if ours == Committed {
		require.NoError(t, s.Commit(s.oursCtx, s.ours))
	}
	return s
}

func TestDecide(t *testing.T) {
	for _, tt := range []struct {
		name, self string
		on         *Entry
		ours       Stage
		want       dist.Status
	}{
		{"stranger", "alice", nil, None, protocol.StatusOK},
		{"both connect, the other gives way", "carol", nil, Begun, protocol.StatusNok},
		{"both connect, we give way", "alice", nil, Named, protocol.StatusOKSimultaneous},
		{"connected", "alice", &Entry{Conn: up()}, None, protocol.StatusAlive},
		{"connected, beside an attempt", "carol", &Entry{Conn: up()}, Begun, protocol.StatusAlive},
		{"the connection ends", "alice", &Entry{Conn: ended()}, None, protocol.StatusOK},
		{"another worker is connected", "alice", &Entry{Conn: up(), Remote: true}, None, protocol.StatusOK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := set(t, tt.on, tt.ours)
			a, _ := begin(1)
			require.Equal(t, tt.want, s.Decide(tt.self, "bob", a))
			if tt.on != nil {
				require.Equal(t, tt.on.Conn, a.Replaces)
			}
			require.Equal(t, tt.want != protocol.StatusNok, s.Look("bob").Theirs)
			s.Drop(a)
			require.False(t, s.Look("bob").Theirs)
		})
	}
}

// A peer that has proven itself ends our attempt, unless it may have given way to that.
func TestProven(t *testing.T) {
	for _, tt := range []struct {
		name, self string
		ours       Stage
		later      *Entry // has come up since the peer has said its name
		want       error
		cancelled  bool // our own attempt
	}{
		{"alone", "alice", None, nil, nil, false},
		{"it does not know our name", "carol", Begun, nil, nil, true},
		{"it may have given way", "carol", Named, nil, ErrSuperseded, false},
		{"it may have accepted", "carol", Committed, nil, ErrSuperseded, false},
		{"we give way", "alice", Committed, nil, nil, true},
		{"ours has come up", "alice", None, &Entry{Conn: up(), Initiated: true}, ErrConnected, false},
		{"ours has come and gone", "alice", None, &Entry{Conn: ended(), Initiated: true}, nil, false},
		{"one of its own has come up", "alice", None, &Entry{Conn: up()}, nil, false},
		{"a way to another worker has come up", "alice", None, &Entry{Conn: up(), Initiated: true, Remote: true}, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := set(t, nil, None)
			a, _ := begin(1)
			s.Decide(tt.self, "bob", a)
			if tt.ours != None {
				s.ours, s.oursCtx = begin(0)
				require.False(t, s.Begin(s.ours, false))
				require.True(t, s.Begin(s.ours, true), "it has proven nothing yet")
			}
			if tt.ours >= Named {
				s.GiveName(s.ours)
			}
			if tt.ours == Committed {
				require.NoError(t, s.Commit(s.oursCtx, s.ours))
			}
			if tt.later != nil {
				tt.later.Peer = "bob"
				s.Put(*tt.later)
			}
			require.Equal(t, tt.want, s.Proven(tt.self, a))
			require.Equal(t, tt.want == nil, s.Look("bob").Comes)
			if s.ours != nil {
				require.Equal(t, tt.cancelled, context.Cause(s.oursCtx) == ErrSuperseded)
			}
			if tt.cancelled {
				require.ErrorIs(t, s.Commit(s.oursCtx, s.ours), ErrSuperseded)
			}
		})
	}
}

// The peer that was connected when it said its name may have lost that connection.
func TestProvenOfReplacedConnection(t *testing.T) {
	s := set(t, &Entry{Conn: up(), Initiated: true}, None)
	a, _ := begin(1)
	require.Equal(t, protocol.StatusAlive, s.Decide("alice", "bob", a))
	require.NoError(t, s.Proven("alice", a))
}

func TestEnter(t *testing.T) {
	same := up()
	for _, tt := range []struct {
		name     string
		on       *Entry
		e        Entry
		replaces Conn
		old      bool // the one on the table is to end
		want     error
	}{
		{name: "none there"},
		{name: "one there", on: &Entry{Conn: up()}, want: ErrConnected},
		{name: "one that is dead", on: &Entry{Conn: same}, replaces: same, old: true},
		{name: "one that is not the dead one", on: &Entry{Conn: up()}, replaces: same, want: ErrConnected},
		{name: "one that has ended", on: &Entry{Conn: ended()}, old: true},
		{name: "of an earlier attempt", on: &Entry{Conn: up(), Order: 1}, e: Entry{Order: 2}, old: true},
		{name: "of a later attempt", on: &Entry{Conn: up(), Order: 3}, e: Entry{Order: 2}, want: ErrConnected},
		{name: "of our own attempt", on: &Entry{Conn: up(), Initiated: true}, e: Entry{Order: 2}, want: ErrConnected},
		{name: "made before this one elsewhere", on: &Entry{Conn: up()}, e: Entry{Moved: 11}, old: true},
		{name: "made after this one elsewhere", on: &Entry{Conn: up()}, e: Entry{Moved: 9}, want: ErrConnected},
		{name: "of another worker", on: &Entry{Conn: up(), Remote: true}, old: true},
		{name: "also of another worker", on: &Entry{Conn: up(), Remote: true}, e: Entry{Remote: true}, want: ErrConnected},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := set(t, tt.on, None)
			c := up()
			tt.e.Conn, tt.e.Peer = c, "bob"
			old, err := s.Enter(tt.e, tt.replaces, open)
			require.Equal(t, tt.want, err)
			require.Equal(t, tt.old, old != nil)
			if tt.old {
				require.Same(t, s.c, old)
				require.Zero(t, c.entered)
				change := s.Look("bob").Change
				s.Leave("bob", s.c, Ended)
				<-change
				old, err = s.Enter(tt.e, tt.replaces, open)
				require.NoError(t, err)
				require.Nil(t, old)
			}
			if tt.want == nil {
				require.Equal(t, 1, c.entered)
				require.Same(t, c, s.Conn("bob"))
				require.Equal(t, []Conn{c}, s.Conns())
				s.Leave("bob", c, Ended)
				require.Zero(t, s.Size())
			}
		})
	}
}

// What the peer has begun before the connection that comes up is given up; what it has begun since
// goes on.
func TestEnterEndsEarlierAttempts(t *testing.T) {
	var s Table
	var attempts []*Attempt
	var ctxs []context.Context
	for order := range uint64(3) {
		a, ctx := begin(order + 1)
		require.Equal(t, protocol.StatusOK, s.Decide("alice", "bob", a))
		attempts, ctxs = append(attempts, a), append(ctxs, ctx)
	}
	change := s.Look("bob").Change
	old, err := s.Enter(Entry{Conn: up(), Peer: "bob", Order: 2}, nil, open)
	require.NoError(t, err)
	require.Nil(t, old)
	<-change
	require.ErrorIs(t, context.Cause(ctxs[0]), ErrSuperseded)
	require.NoError(t, ctxs[1].Err())
	require.NoError(t, ctxs[2].Err())
	for _, a := range attempts {
		s.Drop(a)
	}
	require.False(t, s.Look("bob").Theirs)
}

// A shut door leaves everything as it is.
func TestEnterRefused(t *testing.T) {
	s := set(t, &Entry{Conn: ended()}, None)
	shut := errors.New("shut")
	old, err := s.Enter(Entry{Conn: up(), Peer: "bob"}, nil, func() error { return shut })
	require.Equal(t, shut, err)
	require.Nil(t, old)
	_, err = s.Enter(Entry{Conn: up(), Peer: "carol"}, nil, func() error { return shut })
	require.Equal(t, shut, err)
	require.Equal(t, 1, s.Size())
}

func TestBegin(t *testing.T) {
	for _, tt := range []struct {
		name   string
		on     *Entry
		ours   Stage
		theirs bool
		proven bool
		beside bool
		want   bool
	}{
		{name: "nobody", want: true},
		{name: "connected", on: &Entry{Conn: up()}},
		{name: "the connection ends", on: &Entry{Conn: ended()}},
		{name: "another of ours", ours: Begun},
		{name: "theirs", theirs: true},
		{name: "beside theirs", theirs: true, beside: true, want: true},
		{name: "beside theirs that is proven", theirs: true, proven: true, beside: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := set(t, tt.on, tt.ours)
			if tt.theirs {
				a, _ := begin(1)
				s.Decide("alice", "bob", a)
				if tt.proven {
					require.NoError(t, s.Proven("alice", a))
				}
			}
			a, _ := begin(0)
			require.Equal(t, tt.want, s.Begin(a, tt.beside))
			require.Equal(t, tt.want || tt.ours == Begun, s.Look("bob").Ours == Begun)
		})
	}
}

// An attempt whose peer is known late is beside no other of ours, and no connection.
func TestMeet(t *testing.T) {
	for _, tt := range []struct {
		name string
		on   *Entry
		ours Stage
		want error
	}{
		{"nobody", nil, None, nil},
		{"connected", &Entry{Conn: up()}, None, ErrConnected},
		{"the connection ends", &Entry{Conn: ended()}, None, nil},
		{"another of ours", nil, Begun, ErrConnected},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := set(t, tt.on, tt.ours)
			a, _ := begin(0)
			a.Peer = ""
			s.GiveName(a)
			require.Equal(t, tt.want, s.Meet("bob", a))
			if tt.want == nil {
				require.NoError(t, s.Meet("bob", a), "once more")
				require.Equal(t, Named, s.Look("bob").Ours)
			}
		})
	}
}

// Our attempt may have been refused for one of the peer's only after its proof, and only if we give
// way.
func TestGaveWay(t *testing.T) {
	for _, stage := range []Stage{Begun, Named, Committed} {
		s := set(t, nil, stage)
		require.False(t, s.GaveWay(s.ours))
		a, _ := begin(1)
		require.Equal(t, protocol.StatusOKSimultaneous, s.Decide("alice", "bob", a))
		require.Equal(t, stage == Committed, s.GaveWay(s.ours))
		s.Drop(a)
		require.False(t, s.GaveWay(s.ours))
	}
}

// The table keeps nothing of peers of which nothing is known, and wakes who waits for them.
func TestForget(t *testing.T) {
	var s Table
	k := s.Look("bob")
	require.Equal(t, Known{Change: k.Change}, k)
	s.Forget("bob")
	s.Forget("nobody")
	<-k.Change
	require.Zero(t, s.Size())
	require.False(t, s.Has("bob"))

	a, _ := begin(1)
	s.Decide("alice", "bob", a)
	k = s.Look("bob")
	s.Forget("bob")
	require.True(t, s.Has("bob"))
	select {
	case <-k.Change:
		require.Fail(t, "nothing has changed")
	default:
	}
	s.Drop(a)
	<-k.Change
	require.Zero(t, s.Size())
}

// A peer is away from when its connection has moved until it has one here again.
func TestAway(t *testing.T) {
	s := set(t, &Entry{Conn: up()}, None)
	s.Leave("bob", s.c, Away)
	require.True(t, s.Look("bob").Away)
	require.Equal(t, Away, s.Absent("bob"))
	_, err := s.Enter(Entry{Conn: up(), Peer: "bob"}, nil, open)
	require.NoError(t, err)
	require.False(t, s.Look("bob").Away)
	for i := range MaxAway + 10 {
		s.Leave(string(rune(i)), s.c, Closed)
	}
	require.LessOrEqual(t, len(s.gone), MaxAway)
}
