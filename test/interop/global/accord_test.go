package global

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/accord"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes/global"
)

// Nodes of Go, and one of OTP among them, that register names by chance while connections between
// them break, and processes of global are ended, agree in the end.
func TestAccord(t *testing.T) {
	all := otp.Releases(t)
	for seed := range otp.Times("CNODE_ACCORD", need.Fewer(4, 10)) {
		r := all[seed%len(all)]
		t.Run(fmt.Sprintf("%v/%d", r, seed), func(t *testing.T) {
			t.Parallel()
			port := r.Epmd(t)
			e := erlang{r.Start(t, otp.Options{EpmdPort: port})}
			e.Load(t, accordSource)
			require.Equal(t, "ok", e.Eval(t, "accord:start()"))
			c := &accord.Cluster{
				Members: []accord.Member{e}, Pause: 100 * time.Millisecond, Limit: time.Minute,
				BEAM: e, Reconnect: func() { e.Eval(t, "[erlang:disconnect_node(N) || N <- nodes()], ok") },
			}
			for i := range 2 + seed%2 { // some names are less than the Erlang node's, some are greater
				x := &accord.Node{}
				cfg := config(t, uniqueName([]string{"g", "z", "m"}[i]), port)
				cfg.Setup = x.Setup
				gonode.Start(t, cfg)
				c.Members = append(c.Members, x)
			}
			// cookie is the one that two members have for each other; OTP's keeps its own.
			cookie := func(a, b accord.Member, secret string) {
				for _, pair := range [][2]accord.Member{{a, b}, {b, a}} {
					if x, ok := pair[0].(*accord.Node); ok {
						require.NoError(t, x.SetCookie(pair[1].Name(), secret))
					}
				}
			}
			c.Cut = func(_ *rand.Rand, a, b accord.Member) {
				cookie(a, b, "cut")
				x, ok := a.(*accord.Node)
				if !ok {
					x, b = b.(*accord.Node), a
				}
				if c := x.Conn(b.Name()); c != nil {
					c.Close()
				}
			}
			c.Mend = func(_ *rand.Rand, a, b accord.Member) {
				// OTP drops the names of a node that it cannot connect to, and keeps the node if it can
				// a moment later: so not in the middle of a session.
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				_ = e.Sync(ctx)
				cookie(a, b, otp.DefaultCookie)
			}
			c.Run(t, uint64(seed))
		})
	}
}

// An erlang is a Member of OTP.
type erlang struct{ *otp.Node }

func (e erlang) call(ctx context.Context, format string, args ...any) (string, error) {
	left := time.Second
	if at, ok := ctx.Deadline(); ok {
		left = max(time.Until(at), 0)
	}
	text, err := e.EvalContext(context.Background(), fmt.Sprintf("accord:within(%d, fun() -> "+format+" end)",
		append([]any{left.Milliseconds()}, args...)...))
	if err == nil && text == "late" {
		err = context.DeadlineExceeded
	}
	return text, err
}

func (e erlang) change(ctx context.Context, format string, args ...any) error {
	answer, err := e.call(ctx, format, args...)
	if err == nil && answer != "yes" && answer != "ok" {
		err = fmt.Errorf("%w: %s", global.ErrTaken, answer)
	}
	return err
}

func (e erlang) Register(ctx context.Context, name string, i int, method global.Method) error {
	return e.change(ctx, "global:register_name(%s, accord:process(%d), fun global:%s/3)", name, i, method.Function)
}

func (e erlang) Unregister(ctx context.Context, name string) error {
	return e.change(ctx, "global:unregister_name(%s)", name)
}

func (e erlang) Whereis(ctx context.Context) (map[string]ei.Pid, error) {
	text, err := e.call(ctx, "accord:text([{N, global:whereis_name(N)} || N <- global:registered_names()])")
	return pidsOf(text, err)
}

func (e erlang) Living(ctx context.Context) (list []ei.Pid, err error) {
	text, err := e.call(ctx, "accord:text([{I, P} || {I, P} <- accord:processes(), is_process_alive(P)])")
	pids, err := pidsOf(text, err)
	for _, pid := range pids {
		list = append(list, pid)
	}
	return list, err
}

// pidsOf reads what accord:text makes: names and pids, in turns.
func pidsOf(text string, err error) (map[string]ei.Pid, error) {
	pids := map[string]ei.Pid{}
	words := strings.Fields(strings.Trim(text, `"`))
	for i := 0; i+1 < len(words) && err == nil; i += 2 {
		var raw []byte
		var pid ei.Term
		if raw, err = base64.StdEncoding.DecodeString(words[i+1]); err == nil {
			pid, err = ei.Decode(raw)
		}
		pids[words[i]], _ = pid.(ei.Pid)
	}
	return pids, err
}

func (e erlang) Known(ctx context.Context) ([]string, error) {
	text, err := e.call(ctx, "lists:flatten(lists:join(\" \", [atom_to_list(N) || N <- gen_server:call(global_name_server, get_known)]))")
	return strings.Fields(strings.Trim(text, `"[]`)), err
}

func (e erlang) Sync(ctx context.Context) error { return e.change(ctx, "global:sync()") }

func (e erlang) Trans(ctx context.Context, resource string, hold time.Duration) error {
	return e.change(ctx, "global:trans({%s, self()}, fun() -> timer:sleep(%d), ok end)", resource, hold.Milliseconds())
}

func (e erlang) End(i int) {
	_, _ = e.EvalContext(context.Background(), fmt.Sprintf("exit(accord:process(%d), ended)", i))
}

func (e erlang) Disturb(*rand.Rand) string { return "" }

func (e erlang) Connect(ctx context.Context, name string) {
	_, _ = e.call(ctx, "net_kernel:connect_node('%s')", name)
}

// within calls a function in a process of its own, and gives up after a time; processes are made
// when they are asked for.
const accordSource = `
-module(accord).
-export([start/0, within/2, process/1, processes/0, text/1]).

start() ->
    Self = self(),
    spawn(fun() -> register(accord, self()), Self ! started, loop(#{}) end),
    receive started -> ok end.

loop(Map) ->
    receive
        {process, I, From} ->
            P = case Map of
                #{I := Q} -> case is_process_alive(Q) of true -> Q; false -> new() end;
                _ -> new()
            end,
            From ! {accord, P},
            loop(Map#{I => P});
        {processes, From} -> From ! {accord, maps:to_list(Map)}, loop(Map)
    end.

new() -> spawn(fun idle/0).
idle() -> receive _ -> idle() end.

process(I) -> accord ! {process, I, self()}, receive {accord, P} -> P end.
processes() -> accord ! {processes, self()}, receive {accord, L} -> L end.

within(Time, Fun) ->
    {P, M} = spawn_monitor(fun() -> exit({result, Fun()}) end),
    receive
        {'DOWN', M, _, _, {result, R}} -> R;
        {'DOWN', M, _, _, Why} -> Why
    after Time -> demonitor(M, [flush]), exit(P, kill), late
    end.

text(List) ->
    lists:flatten([io_lib:format("~tw ~s ", [K, base64:encode(term_to_binary(P))]) || {K, P} <- List, is_pid(P)]).
`
