//go:build unix

package move

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/virtual"
)

// largeMoves is how often a connection moves among large messages; CNODE_LARGE_MOVES says
// otherwise, for long runs.
func largeMoves() int { return otp.Times("CNODE_LARGE_MOVES", need.Fewer(10, 30)) }

// Messages are {Sender, I, Crc, Bytes}. Senders are numbers; those from few on send small messages.
const (
	few        = 2
	some       = 4
	largeBytes = 1 << 20
	largeRate  = 40e6 // bytes per second, each way: a large message takes some 25 ms
)

// large is an Erlang module that sends such messages from several processes to the process sink of
// a node, and checks those that its own sink gets.
const large = `-module(large).
-export([start/3, stop/0, wait/1]).

start(N, Senders, Large) ->
    Bytes = rand:bytes(2 * Large),
    register(watch, spawn(fun() -> ok = net_kernel:monitor_nodes(true, #{node_type => all}), watch([]) end)),
    register(sink, spawn(fun() -> process_flag(message_queue_data, off_heap), sink(#{}, none) end)),
    register(sources, spawn(fun() ->
        All = [spawn_link(fun() -> source(N, S, Bytes, Large, 1) end) || S <- Senders],
        receive {ask, From} -> From ! {sources, [{S, ask(P)} || {S, P} <- lists:zip(Senders, All)]} end end)),
    ok.

%% How many each has sent.
stop() -> ask(sources).

%% What came of each sender, once there is as much, and what nodes went.
wait(Want) ->
    case ask(sink) of
        {Want, none} -> {whole, ask(watch)};
        {_, none} -> timer:sleep(10), wait(Want);
        Other -> Other
    end.

ask(To) ->
    To ! {ask, self()},
    receive {sent, X} -> X; {sources, X} -> X; {sink, X} -> X; {watch, X} -> X after 50000 -> timeout end.

watch(Seen) ->
    receive
        {ask, From} -> From ! {watch, Seen}, watch(Seen);
        {nodedown, Node, _} -> watch([Node | Seen]);
        {nodeup, _, _} -> watch(Seen)
    end.

sink(Seen, Bad) ->
    receive
        {ask, From} -> From ! {sink, {Seen, Bad}}, sink(Seen, Bad);
        {S, I, Crc, B} when Bad =:= none ->
            case {maps:get(S, Seen, 0) + 1, erlang:crc32(B)} of
                {I, Crc} -> sink(Seen#{S => I}, none);
                Due -> sink(Seen, {S, I, Crc, due, Due})
            end;
        _ -> sink(Seen, Bad)
    end.

source(N, S, Bytes, Large, I) ->
    Small = S >= 2,
    receive {ask, From} -> From ! {sent, I - 1}
    after if Small -> 1; true -> 0 end ->
        Size = if Small -> I rem 3000; true -> Large div 2 + rand:uniform(Large) end,
        B = binary:part(Bytes, rand:uniform(2 * Large - Size), Size),
        {sink, N} ! {S, I, erlang:crc32(B), B},
        source(N, S, Bytes, Large, I + 1)
    end.
`

// A largeSink is sink for messages of several senders.
type largeSink struct {
	mu    sync.Mutex
	seen  [some]int64
	bad   error
	large atomic.Int64 // large messages that have come
}

func (s *largeSink) take(_ *nodes.Mailbox, m *nodes.Message) {
	defer m.Release()
	c := ei.NewCursor(m.Payload)
	_, err := c.Tuple()
	sender, err2 := c.Uint()
	i, err3 := c.Int()
	crc, err4 := c.Uint()
	b, err5 := c.Binary()
	err = errors.Join(err, err2, err3, err4, err5)
	if err == nil && sender >= some {
		err = fmt.Errorf("sender %d", sender)
	}
	if err == nil && crc != uint64(crc32.ChecksumIEEE(b)) {
		err = errors.New("another checksum")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && i != s.seen[sender]+1 {
		err = fmt.Errorf("%d was due", s.seen[sender]+1)
	}
	switch {
	case s.bad != nil:
	case err != nil:
		s.bad = fmt.Errorf("message %d of sender %d: %w", i, sender, err)
	default:
		s.seen[sender]++
		if sender < few {
			s.large.Add(1)
		}
	}
}

func (s *largeSink) state() ([some]int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen, s.bad
}

// sendsLarge is sends for a sender of these messages.
func sendsLarge(
	t *testing.T, sender int, self ei.Pid, bytes []byte, conn func() *nodes.Conn, stop <-chan struct{}, sent *atomic.Int64,
) {
	r := rand.New(rand.NewPCG(uint64(sender), 1))
	for i := int64(1); ; i++ {
		size := largeBytes/2 + r.IntN(largeBytes)
		if sender >= few {
			size = int(i % 3000)
			time.Sleep(time.Millisecond) // so that they leave room for the large ones
		}
		start := r.IntN(len(bytes) - size)
		b := bytes[start : start+size]
		payload, err := ei.AppendTerm(nil, ei.Tuple{ei.Int(sender), ei.Int(i), ei.Int(crc32.ChecksumIEEE(b)), ei.Binary(b)})
		for err == nil {
			select {
			case <-stop:
				return
			default:
			}
			err = conn().SendControl(context.Background(), &dist.Control{Op: dist.OpRegSend, From: self, ToName: "sink"}, payload)
			if err == nil {
				sent.Add(1)
				break
			}
			if errors.Is(err, nodes.ErrMoved) { // nothing was sent
				err = nil
				time.Sleep(10 * time.Microsecond)
			}
		}
		if err != nil {
			t.Errorf("message %d of sender %d: %v", i, sender, err)
			return
		}
	}
}

// A connection moves, again and again, in the middle of large messages, theirs, ours or both, with
// small ones beside them.
func TestConnMovesInLargeMessages(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		erl := r.Start(t, otp.Options{})
		erl.Load(t, large)
		for _, tt := range []struct {
			name         string
			theirs, ours []int
		}{
			{"theirs", []int{0, 1, 2, 3}, nil},
			{"ours", nil, []int{0, 1, 2, 3}},
			{"both", []int{0, 1, 2, 3}, []int{0, 1, 2, 3}},
		} {
			t.Run(tt.name, func(t *testing.T) { movesInLargeMessages(t, erl, tt.theirs, tt.ours) })
		}
	})
}

func movesInLargeMessages(t *testing.T, erl *otp.Node, theirs, ours []int) {
	erl.Anew(t)
	port := erl.EpmdPort()
	ctx := soon(t)
	in := &largeSink{}
	var workers [2]*nodes.Node
	for i := range workers {
		n, err := nodes.New(nodes.Config{
			Name: "large" + strconv.Itoa(os.Getpid()) + "@127.0.0.1", Cookie: erl.Cookie(), Resolver: finder{gonode.Mapper(port)}, Creation: 4711,
			Worker:    uint16(i),
			Transport: virtual.Limit(transport.TCP(), virtual.LimitOptions{Read: largeRate, Write: largeRate, Burst: 64 << 10}),
			Setup:     func(n *nodes.Node) error { _, err := n.Handle("sink", in.take, nil); return err },
		})
		require.NoError(t, err)
		defer n.Close()
		require.NoError(t, n.Start(ctx))
		workers[i] = n
	}
	first, err := workers[0].Connect(ctx, erl.Name())
	require.NoError(t, err)
	frozen, err := first.Freeze(ctx)
	require.NoError(t, err)
	idle := len(frozen.State())
	frozen.Thaw()
	var current atomic.Pointer[nodes.Conn]
	current.Store(first)

	var senders []string
	for _, s := range theirs {
		senders = append(senders, strconv.Itoa(s))
	}
	begin := fmt.Sprintf("large:start('%s', [%s], %d)", workers[0].Name(), strings.Join(senders, ","), largeBytes)
	require.Equal(t, "ok", erl.Eval(t, begin))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var sent [some]atomic.Int64
	bytes := make([]byte, 2*largeBytes)
	for i := range bytes {
		bytes[i] = byte(rand.Uint32())
	}
	for _, s := range ours {
		self, err := workers[0].NewPid()
		require.NoError(t, err)
		wg.Go(func() { sendsLarge(t, s, self, bytes, current.Load, stop, &sent[s]) })
	}
	largeSent := func() (n int64) {
		for s := range few {
			n += sent[s].Load()
		}
		return n
	}
	moves, middle, most := largeMoves(), 0, 0
	for i := range moves {
		// not always at the same place of a message, and not only between those of one sender
		theirsBefore, oursBefore := in.large.Load(), largeSent()
		require.Eventually(t, func() bool {
			_, bad := in.state()
			broken := bad != nil || t.Failed() || current.Load().Err() != nil
			return (len(theirs) == 0 || in.large.Load() > theirsBefore) && (len(ours) == 0 || largeSent() > oursBefore) || broken
		}, time.Minute, 100*time.Microsecond)
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
		moved, err := current.Load().Detach(ctx)
		require.NoError(t, err)
		if size := len(moved.State) - idle; size > 64<<10 {
			middle++
			most = max(most, size)
		}
		next, err := workers[(i+1)%2].Adopt(ctx, moved)
		require.NoError(t, err)
		current.Store(next)
	}
	close(stop)
	wg.Wait()
	require.False(t, t.Failed())

	var want []string // of theirs
	counted := erl.Eval(t, "large:stop()")
	for s := range ours {
		want = append(want, fmt.Sprintf("%d => %d", ours[s], sent[ours[s]].Load()))
	}
	require.Equal(t, "{whole,[]}", erl.Eval(t, "large:wait(#{"+strings.Join(want, ",")+"})"))
	var all []string
	require.Eventually(t, func() bool {
		seen, bad := in.state()
		all = nil
		for _, s := range theirs {
			all = append(all, fmt.Sprintf("{%d,%d}", s, seen[s]))
		}
		return "["+strings.Join(all, ",")+"]" == counted || bad != nil
	}, time.Minute, time.Millisecond)
	_, bad := in.state()
	require.NoError(t, bad)
	require.GreaterOrEqual(t, middle, moves/3, "of %d moves, in the middle of a message", moves)
	t.Logf("%d moves, %d of them in the middle of a message, with up to %d KiB of it in the state; from the Erlang node %s, to it %v",
		moves, middle, most>>10, counted, want)
}
