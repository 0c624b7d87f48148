//go:build unix

package upgrade

import (
	"log/slog"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/transport"
)

// asker is an Erlang module that asks without pause, with at most 50 questions on their way, and
// checks that every answer comes once and in order.
const asker = `-module(asker).
-export([start/1, stop/0]).

start(N) ->
    Up = self(),
    register(asker, spawn(fun() ->
        monitor_node(N, true), monitor(process, {echo, N}), Up ! {asker, began}, loop(N, 0, 0) end)),
    receive {asker, began} -> ok end.

stop() -> asker ! {stop, self()}, receive {asker, X} -> X after 50000 -> timeout end.

loop(N, Sent, Got) when Sent - Got < 50 -> {echo, N} ! {self(), Sent}, loop(N, Sent + 1, Got);
loop(N, Sent, Got) ->
    receive
        {stop, From} -> From ! {asker, rest(Sent, Got)};
        Got -> loop(N, Sent, Got + 1);
        Other -> receive {stop, From} -> From ! {asker, {due, Got, came, Other}} end
    end.

rest(Sent, Sent) -> receive More -> {more, More} after 200 -> {all, Sent} end;
rest(Sent, Got) -> receive Got -> rest(Sent, Got + 1); Other -> {due, Got, came, Other} after 30000 -> {missing, Got} end.
`

// The connection of an Erlang node that uses it without pause moves to and fro between two
// processes: no answer is lost, repeated or out of order, and no end is reported.
func TestMovesUnderErlang(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		one, other := ends(t)
		moves := otp.Times("CNODE_MOVES", need.Fewer(200, 1000))
		left, right := start(t, "left", moves, one), start(t, "right", moves, other)
		addr, err := transport.ParseAddr(left.hear().Addr)
		require.NoError(t, err)
		right.hear()
		port := r.Epmd(t)
		mapper := &nodes.PortMapper{Client: epmd.Client{Addr: "127.0.0.1:" + strconv.Itoa(port)}}
		log := slog.New(slog.DiscardHandler)
		entry, err := mapper.Publish(t.Context(), nodes.Registration{Name: sideName, Addr: addr, Hidden: true, Logger: log})
		require.NoError(t, err)
		defer entry.Close()
		erl := r.Start(t, otp.Options{Name: "client0", EpmdPort: port, Cookie: sideCookie})
		erl.Load(t, asker)
		require.Equal(t, "up", erl.Eval(t, "{echo, '"+sideName+"'} ! {self(), up}, receive X -> X after 20000 -> none end"))
		require.Equal(t, "ok", erl.Eval(t, "asker:start('"+sideName+"')"))
		right.begin()
		left.begin()
		require.Len(t, append(left.hear().Silence, right.hear().Silence...), moves)
		answered := erl.Eval(t, "asker:stop()")
		require.Regexp(t, `^\{all,\d+\}$`, answered)
		require.Equal(t, "['"+sideName+"']", erl.Eval(t, "nodes(hidden)"))
		t.Logf("%d moves between two processes: %s", moves, answered)
	})
}
