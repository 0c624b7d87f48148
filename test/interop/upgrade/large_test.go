//go:build unix

package upgrade

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/virtual"
)

// largeUpgrades is how often a node is upgraded among large messages; CNODE_LARGE_UPGRADES says
// otherwise, for long runs.
func largeUpgrades() int { return otp.Times("CNODE_LARGE_UPGRADES", need.Fewer(6, 20)) }

const (
	largeBytes = 1 << 20
	largeRate  = 40e6 // bytes per second, each way: a large message takes some 25 ms
)

// large is an Erlang module whose processes each have a few messages of about so many bytes on
// their way to echo and back, and check that each answer is the next one, and whole.
const large = `-module(large).
-export([start/2, stop/0]).

start(N, Sizes) ->
    Base = rand:bytes(3 * lists:max(Sizes)),
    Up = self(),
    register(large, spawn(fun() ->
        process_flag(trap_exit, true),
        ok = net_kernel:monitor_nodes(true, #{node_type => all}), monitor(process, {echo, N}),
        Askers = [spawn_link(fun() -> asker(N, Base, Size, 0, #{}, 0) end) || Size <- Sizes],
        Up ! {large, began},
        receive
            {stop, From} ->
                [P ! {stop, self()} || P <- Askers],
                From ! {large, [receive {P, X} -> X after 50000 -> timeout end || P <- Askers]};
            Other -> receive {stop, From} -> From ! {large, Other} end
        end end)),
    receive {large, began} -> ok end.

stop() -> large ! {stop, self()}, receive {large, X} -> X after 60000 -> timeout end.

asker(N, Base, Size, Sent, Due, Got) when Sent - Got < 3 ->
    Bytes = Size div 2 + rand:uniform(Size),
    B = binary:part(Base, rand:uniform(byte_size(Base) - Bytes), Bytes),
    {echo, N} ! {self(), {Sent, B}},
    asker(N, Base, Size, Sent + 1, Due#{Sent => erlang:md5(B)}, Got);
asker(N, Base, Size, Sent, Due, Got) ->
    receive
        {stop, From} -> From ! {self(), rest(Sent, Due, Got)};
        Answer ->
            {Got, B} = Answer,
            {Md5, Less} = maps:take(Got, Due),
            Md5 = erlang:md5(B),
            asker(N, Base, Size, Sent, Less, Got + 1)
    end.

rest(Sent, _, Sent) -> receive {More, _} -> {more, More} after 200 -> {all, Sent} end;
rest(Sent, Due, Got) ->
    #{Got := Md5} = Due,
    receive {Got, B} -> Md5 = erlang:md5(B), rest(Sent, Due, Got + 1); {Other, _} -> {due, Got, came, Other}
    after 30000 -> {missing, Got}
    end.
`

// playLink is the part of a process in a chain of upgrades: it makes the node or, if it comes
// later, takes it over channel 4, and when it is told to it gives it away.
func playLink(ctx context.Context, later bool, ch *handoff.Channel, in *bufio.Scanner) error {
	cfg := sideConfig(0)
	cfg.Transport = virtual.Limit(transport.TCP(), virtual.LimitOptions{Read: largeRate, Write: largeRate, Burst: 64 << 10})
	var n *nodes.Node
	if later {
		before, err := handoff.FileChannel(os.NewFile(4, "channel"))
		if err != nil {
			return err
		}
		_, err = (&handoff.Acceptance{Stage: func(_ context.Context, state []byte, fds []int) (handoff.Staged, error) {
			s, err := nodes.Restore(cfg, state, fds)
			if err != nil {
				return nil, err
			}
			n = s.Node()
			return s, nil
		}}).Take(ctx, before)
		if err != nil {
			return err
		}
		say(word{})
	} else {
		var err error
		if n, err = nodes.New(cfg); err == nil {
			err = n.Start(ctx)
		}
		if err != nil {
			return err
		}
		say(word{Addr: n.Listeners()[0].Addr().String()})
	}
	if !in.Scan() {
		return nil
	}
	var f *nodes.Frozen
	_, err := (&handoff.Offer{Freeze: func(ctx context.Context) (_ handoff.Frozen, err error) {
		f, err = n.Freeze(ctx)
		return f, err
	}}).Give(ctx, ch)
	if err != nil {
		return err
	}
	say(word{State: len(f.State())})
	return nil
}

// A node goes on in one process after the other in the middle of large messages, both ways, with
// small ones beside them: each comes once and whole, and in its order.
func TestUpgradesInLargeMessages(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		give, take := ends(t)
		p := start(t, "link", 0, give)
		addr, err := transport.ParseAddr(p.hear().Addr)
		require.NoError(t, err)
		port := r.Epmd(t)
		log := slog.New(slog.DiscardHandler)
		entry, err := gonode.Mapper(port).Publish(t.Context(), nodes.Registration{Name: sideName, Addr: addr, Hidden: true, Logger: log})
		require.NoError(t, err)
		defer entry.Close()
		erl := r.Start(t, otp.Options{EpmdPort: port, Cookie: sideCookie})
		erl.Load(t, large)
		answer := "{echo, '" + sideName + "'} ! {self(), up}, receive X -> X after 20000 -> none end"
		require.Equal(t, "up", erl.Eval(t, answer))
		begin := fmt.Sprintf("large:start('%s', [%d, %d, %d, 100, 3000])", sideName, largeBytes, largeBytes, 200<<10)
		require.Equal(t, "ok", erl.Eval(t, begin))

		times, middle, most := largeUpgrades(), 0, 0
		for range times {
			// the answers go on in the new process
			require.Equal(t, "up", erl.Eval(t, answer))
			nextGive, nextTake := ends(t)
			next := start(t, "link", 1, nextGive, take)
			p.begin()
			next.hear()
			state := p.hear().State
			if state > 100<<10 {
				middle++
				most = max(most, state)
			}
			p, take = next, nextTake
		}
		answers := erl.Eval(t, "large:stop()")
		require.Regexp(t, `^\[(\{all,\d+\},?){5}\]$`, strings.Join(strings.Fields(answers), ""))
		require.Equal(t, "['"+sideName+"']", erl.Eval(t, "nodes(hidden)"))
		require.GreaterOrEqual(t, middle, times/4, "of %d upgrades, in the middle of a message", times)
		t.Logf("%d upgrades, %d of them in the middle of a message, with up to %d KiB of it in the state: %s",
			times, middle, most>>10, answers)
	})
}
