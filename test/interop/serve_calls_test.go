package interop

import (
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/stretchr/testify/require"
)

func TestServeSpawn(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		newPair(t, r).is(t, [][2]string{
			{`P = spawn(N, cnode, echo, [1]), {is_pid(P), node(P) =:= N}`, `{true,true}`},
			{`{P, R} = spawn_monitor(N, cnode, echo, [1]),
				receive {'DOWN', R, process, P, Why} -> {node(P) =:= N, Why} after 20000 -> none end`, `{true,normal}`},
			{`process_flag(trap_exit, true)`, `false`},
			{`P = spawn_opt(N, cnode, echo, [1], [link, {priority, high}, {min_heap_size, 1000}]),
				receive {'EXIT', P, Why} -> Why after 20000 -> none end`, `normal`},

			// spawn_request: who is told what.
			{`R = spawn_request(N, cnode, echo, [1], []), receive {spawn_reply, R, ok, P} -> node(P) =:= N after 20000 -> none end`, `true`},
			{`R = spawn_request(N, cnode, echo, [1], [{reply_tag, mine}]), receive {mine, R, ok, P} -> node(P) =:= N after 20000 -> none end`,
				`true`},
			{`R = spawn_request(N, cnode, echo, [1], [{reply, success_only}]),
				receive {spawn_reply, R, ok, P} -> node(P) =:= N after 20000 -> none end`, `true`},
			{`[begin R = spawn_request(N, cnode, echo, [1], [{reply, How}, monitor]),
				receive {'DOWN', R, process, P, normal} -> node(P) =:= N;
					X -> X after 20000 -> none end end || How <- [no, error_only]]`, `[true,true]`},
			{`R = spawn_request(N, cnode, nothing, [1], [{monitor, [{tag, down}]}, link]),
				receive {spawn_reply, R, ok, P} -> ok end,
				[receive {down, R, process, P, {undef, _}} -> down end, receive {'EXIT', P, {undef, _}} -> exit end]`, `[down,exit]`},
			{`R = spawn_request(N, cnode, echo, [1], [nonsense]), receive {spawn_reply, R, error, Why} -> Why after 20000 -> none end`, `badopt`},
			{`R = spawn_request(N, cnode, echo, [1], [{reply, no}]), {ok, 1} = gen_server:call({peer, N}, 1, infinity),
				receive X -> X after 0 -> nothing end`, `nothing`},
			{`{P, R} = spawn_monitor(N, fun() -> ok end),
				receive {'DOWN', R, process, P, {undef, [{F, [], []}]}} -> is_function(F, 0) end`, `true`},
			{`{P, R} = spawn_monitor(N, fun cnode:pid/0), receive {'DOWN', R, process, P, Why} -> Why end`, `normal`},
			{`length(lists:usort([spawn(N, cnode, echo, [I]) || I <- lists:seq(1, 1000)]))`, `1000`},
			{`receive X -> X after 0 -> nothing end`, `nothing`},
		})
	})
}

func TestServeCalls(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		newPair(t, r).is(t, [][2]string{
			{`erpc:call(N, cnode, echo, [{a, 1}])`, `{a,1}`},
			{`erpc:call(N, cnode, nothing, [a, "b"])`, `error:{exception,undef,[{cnode,nothing,[a,"b"],[]}]}`},
			{`erpc:call(N, cnode, echo, [1, 2])`,
				`error:{exception,undef,[{cnode,echo,[1,2],[]},{cnode,echo,2,[{file,"did you mean cnode:echo/1?"},{line,0}]}]}`},
			{`erpc:multicall([node(), N, 'nobody@127.0.0.1'], lists, append, [[1], [2]])`,
				`[{ok,[1,2]},{error,{exception,undef,[{lists,append,[[1],[2]],[]}]}},{error,{erpc,noconnection}}]`},
			{`erpc:multicall([N, N, N], cnode, echo, ["abc"])`, `[{ok,"abc"},{ok,"abc"},{ok,"abc"}]`},
			{`R = erpc:send_request(N, cnode, echo, [1]), {response, V} = erpc:wait_response(R, 20000), V`, `1`},
			{`erpc:cast(N, cnode, echo, [1])`, `ok`},
			{`erpc:multicast([N], cnode, echo, [1])`, `ok`},

			{`rpc:call(N, cnode, echo, [#{k => v}])`, `#{k => v}`},
			{`rpc:call(N, cnode, echo, [1], 20000)`, `1`},
			{`rpc:call(N, cnode, nothing, [])`, `{badrpc,{'EXIT',{undef,[{cnode,nothing,[],[]}]}}}`},
			{`rpc:call(N, cnode, echo, [])`,
				`{badrpc,{'EXIT',{undef,[{cnode,echo,[],[]},{cnode,echo,0,[{file,"did you mean cnode:echo/1?"},{line,0}]}]}}}`},
			{`rpc:block_call(N, cnode, echo, ["block"])`, `"block"`},
			{`rpc:block_call(N, cnode, nothing, [])`, `{badrpc,{'EXIT',{undef,[{cnode,nothing,[],[]}]}}}`},
			{`K = rpc:async_call(N, cnode, echo, [later]), rpc:yield(K)`, `later`},
			{`K = rpc:async_call(N, cnode, echo, [later]), rpc:nb_yield(K, 20000)`, `{value,later}`},
			{`rpc:multicall([node(), N], erlang, abs, [-1])`, `{[1,{badrpc,{'EXIT',{undef,[{erlang,abs,[-1],[]}]}}}],[]}`},
			{`rpc:multicall([N, 'nobody@127.0.0.1'], cnode, echo, [x])`, `{[x],['nobody@127.0.0.1']}`},
			{`rpc:cast(N, cnode, echo, [1])`, `true`},
			{`rpc:abcast([N], peer, {echo, self(), cast}), receive X -> X after 20000 -> none end`, `cast`},

			{`gen_server:call({peer, N}, {what, "ever"}, infinity)`, `{ok,{what,"ever"}}`},
			{`gen_server:cast({peer, N}, ignored)`, `ok`},
			{`gen_server:call({nobody, N}, x)`, `exit:{noproc,{gen_server,call,[{nobody,{N}},x]}}`},
			{`gen_server:multi_call([N], peer, x)`, `{[{{N},{ok,x}}],[]}`},
			{`Rs = [gen_server:send_request({peer, N}, I) || I <- lists:seq(1, 1000)],
				[I || {I, R} <- lists:zip(lists:seq(1, 1000), Rs), gen_server:wait_response(R, 20000) =/= {reply, {ok, I}}]`, `[]`},
			{`Refs = [element(2, spawn_monitor(fun() -> exit([rpc:call(N, cnode, echo, [{I, J}])
				|| J <- lists:seq(1, 20)]) end)) || I <- lists:seq(1, 50)],
				[I || {I, R} <- lists:zip(lists:seq(1, 50), Refs),
					receive {'DOWN', R, process, _, Why} -> Why =/= [{I, J} || J <- lists:seq(1, 20)] end]`, `[]`},
			{`receive X -> X after 0 -> nothing end`, `nothing`},
		})
	})
}

// erl_call, the program of OTP for scripts, calls us: by name, and by address without a port
// mapper.
func TestServeErlCall(t *testing.T) {
	needsTCP(t, "erl_call speaks no TLS")
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		demo := serve(t, port)
		for _, how := range [][]string{{"-name", demo.Name}, {"-R", "-name", demo.Name}, {"-address", "127.0.0.1:" + demo.Address}} {
			for call, want := range map[string]string{
				`cnode echo [[1,{a,"b"}]]`: `[1, {a, "b"}]`,
				`cnode pid []`:             strconv.Itoa(demo.Pid()),
				`cnode echo [1,2]`: `{badrpc, {'EXIT', {undef, [{cnode, echo, [1, 2], []}, ` +
					`{cnode, echo, 2, [{file, "did you mean cnode:echo/1?"}, {line, 0}]}]}}}`,
			} {
				args := slices.Concat(how, []string{"-timeout", "30", "-c", otp.DefaultCookie, "-a", call})
				if how[0] != "-R" { // which asks for a name
					self, _, _ := strings.Cut(uniqueName(), "@")
					args = append(args, "-h", self)
				}
				cmd := exec.Command(r.Command("erl_call"), args...)
				cmd.Env = environment(t, port)
				out, err := cmd.CombinedOutput()
				require.NoError(t, err, "%v %s", how, out)
				require.Equal(t, want, strings.TrimSpace(string(out)))
			}
		}
	})
}
