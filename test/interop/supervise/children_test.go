package supervise

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/supervisor"
)

// An Erlang supervisor starts a Go process, and starts it again: when it ends, with the reason in
// the report, and when its program is killed. Its shutdown lets the process terminate.
func TestErlangSupervisor(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) { // one at a time: they look into terminated
		erl := r.Start(t, otp.Options{})
		erl.Load(t, whole)
		erl.Load(t, block(t, "```erlang\n-module(go_child)"))
		n, _ := start(t, erl.EpmdPort(), func(n *nodes.Node) error { return supervisor.ExposeStart(n, "pricing", newPricing, nil) })
		begin := func(name string) string {
			return "tsup:start(#{intensity => 5, period => 60}, [go_child:spec('" + name + "', pricing)])"
		}
		child := `[{pricing, A, worker, _}] = supervisor:which_children(tsup), C = catch go_child:pid(A), `
		erl.Do(t, begin(n.Name()))
		erl.Becomes(t, child+`is_pid(C) andalso node(C) =/= node()`, "true")
		require.Equal(t, "5", erl.Eval(t, bind(n, `gen_server:call(S, {add, 5})`)))
		require.Equal(t, "[1,1]", erl.Eval(t, `[proplists:get_value(K, supervisor:count_children(tsup)) || K <- [specs, active]]`))
		first := n.Whereis("pricing").Pid()
		for i, end := range []string{
			`catch gen_server:call(S, bug)`, `gen_server:stop(S)`, `catch gen_server:call(S, {exit, {because, 1}})`,
			`exit(C, kill)`, `exit(A, kill)`,
		} {
			was := n.Whereis("pricing")
			erl.Eval(t, bind(n, child+"_ = {A, C}, "+end))
			<-was.Done()
			require.Eventually(t, func() bool { b := n.Whereis("pricing"); return b != nil && b != was }, expect.Limit, time.Millisecond, "%d", i)
		}
		require.NotEqual(t, first, n.Whereis("pricing").Pid())
		for _, reason := range []string{`{go_panic,<<"a bug">>}`, `{because,1}`, "killed"} {
			require.Eventually(t, func() bool { return strings.Contains(erl.Log(), reason) }, expect.Limit, 10*time.Millisecond, reason)
		}
		terminated.Store("")
		require.Equal(t, "ok", erl.Eval(t, `supervisor:terminate_child(tsup, pricing)`))
		require.Equal(t, "shutdown", terminated.Load())
		require.Equal(t, "ok", erl.Eval(t, `element(1, supervisor:restart_child(tsup, pricing))`))
		erl.Becomes(t, child+`is_pid(C)`, "true")
		terminated.Store("")
		erl.Do(t, `exit(whereis(tsup), kill)`)
		require.Eventually(t, func() bool { return terminated.Load() == "shutdown" && n.Whereis("pricing") == nil }, expect.Limit,
			time.Millisecond,
			"the end of the supervisor ends the process")

		// a second parent does not get the process
		erl.Do(t, begin(n.Name()))
		erl.Becomes(t, child+`is_pid(C)`, "true")
		require.Contains(t, erl.Eval(t, `erpc:call('`+n.Name()+`', pricing, start_link, [])`), "{error,{already_started,")
	})
}

// A Go program that is killed, and a connection that breaks, are no restarts for a supervisor with
// OTP's intensity, one in 5 s, that has several children there: the stand-ins stay, and have other
// processes.
func TestErlangSupervisorLosesNode(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		erl := r.Start(t, otp.Options{})
		erl.Load(t, whole)
		erl.Load(t, block(t, "```erlang\n-module(go_child)"))
		name := newName()
		first := program(t, name, erl.EpmdPort())
		erl.Do(t, `tsup:start(#{}, [go_child:spec('`+name+`', P) || P <- [`+strings.Join(several, ",")+`]])`)
		children := `S = lists:sort([A || {_, A, _, _} <- supervisor:which_children(tsup)]), C = [catch go_child:pid(A) || A <- S], `
		all := children + `length(C) =:= ` + strconv.Itoa(len(several)) + ` andalso lists:all(fun erlang:is_pid/1, C) andalso `
		erl.Becomes(t, all+`persistent_term:put(was, {S, C}) =:= ok`, "true")
		next := `{S0, C0} = persistent_term:get(was), ` + all +
			`S =:= S0 andalso C -- C0 =:= C andalso persistent_term:put(was, {S, C}) =:= ok`

		first.Kill()
		<-first.Done()
		erl.Becomes(t, children+`S =:= element(1, persistent_term:get(was)) andalso lists:usort(C) =:= [undefined]`, "true")
		second := program(t, name, erl.EpmdPort())
		erl.Becomes(t, next, "true")

		erl.Do(t, `erlang:disconnect_node('`+name+`')`)
		erl.Becomes(t, next, "true")
		require.Equal(t, "2", erl.Eval(t, children+`gen_server:call(hd(C), {add, 2})`))
		second.Kill()
		<-second.Done()
	})
}

// Without a stand-in the Go process is the child.
func TestErlangSupervisorDirect(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		erl := r.Start(t, otp.Options{})
		erl.Load(t, whole)
		n, _ := start(t, erl.EpmdPort(), func(n *nodes.Node) error { return supervisor.ExposeStart(n, "pricing", newPricing, nil) })
		erl.Do(t, bind(n, `tsup:start(#{intensity => 5, period => 60}, 
			[#{id => pricing, start => {erpc, call, [N, pricing, start_link, []]}}])`))
		was := n.Whereis("pricing")
		child := `[{pricing, C, worker, _}] = supervisor:which_children(tsup), `
		require.Equal(t, "true", erl.Eval(t, bind(n, child+`node(C) =:= N`)))
		erl.Eval(t, bind(n, `catch gen_server:call(S, bug)`))
		<-was.Done()
		require.Eventually(t, func() bool { b := n.Whereis("pricing"); return b != nil && b != was }, expect.Limit, time.Millisecond)
		require.Equal(t, "ok", erl.Eval(t, `supervisor:terminate_child(tsup, pricing)`))
		require.Nil(t, n.Whereis("pricing"))
		require.Equal(t, "ok", erl.Eval(t, `element(1, supervisor:restart_child(tsup, pricing))`))
		was = n.Whereis("pricing")
		erl.Do(t, `exit(whereis(tsup), kill)`)
		<-was.Done()
		require.Equal(t, "killed", reason(was))
	})
}

// A Go supervisor starts a gen_server, links, and starts it again: when it crashes, and when its
// node goes and comes back. A shutdown lets it terminate.
func TestErlangChildren(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		options := otp.Options{EpmdPort: port, Name: strings.Split(newName(), "@")[0]}
		erl := r.Start(t, options)
		name := erl.Name()
		keeper := strings.ReplaceAll(whole, "{local, Name}", "{local, binary_to_atom(Name)}")
		erl.Load(t, keeper)
		var sup *supervisor.Supervisor
		n, _ := start(t, port, func(n *nodes.Node) (err error) {
			sup, err = supervisor.Start(t.Context(), n, "sup", &supervisor.Options{Intensity: 2, Period: time.Second},
				supervisor.Remote("keeper", name, "tsup", "start_keeper", "keeper", 7),
				supervisor.Child{ID: "loop", Restart: supervisor.Temporary, Start: func(ctx context.Context, s *supervisor.Supervisor) (ei.Pid, error) {
					return s.Mailbox().SpawnLink(ctx, name, "tsup", "loop", ei.Atom("loop"))
				}})
			return err
		})
		runs := `is_pid(whereis(keeper)) andalso gen_server:call(keeper, get)`
		erl.Becomes(t, runs, "7")
		erl.Becomes(t, `[lists:member(S, element(2, process_info(whereis(P), links)))
		|| P <- [keeper, loop], {status, S, _, _} <- [sys:get_status({sup, '`+n.Name()+`'})]]`, "[true,true]")
		erl.Do(t, `persistent_term:put(was, whereis(keeper)), gen_server:cast(keeper, crash)`)
		erl.Becomes(t, `P = whereis(keeper), is_pid(P) andalso P =/= persistent_term:get(was)`, "true")

		require.Equal(t, "ok", erl.Eval(t, `supervisor:terminate_child({sup, '`+n.Name()+`'}, keeper)`))
		require.Equal(t, "{undefined,shutdown}", erl.Eval(t, `{whereis(keeper), persistent_term:get(keeper_terminated)}`))
		require.Equal(t, "true", erl.Eval(t, `{ok, P} = supervisor:restart_child({sup, '`+n.Name()+`'}, keeper), whereis(keeper) =:= P`))

		erl.Kill()
		<-erl.Done()
		erl = r.Start(t, options)
		erl.Load(t, keeper)
		erl.Becomes(t, runs, "7")

		erl.Do(t, `persistent_term:put(keeper_terminated, no)`)
		require.NoError(t, sup.Shutdown(expect.Context(t)))
		erl.Becomes(t, `{whereis(keeper), persistent_term:get(keeper_terminated)}`, "{undefined,shutdown}")
	})
}
