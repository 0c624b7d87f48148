package observer

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/observer"
	"github.com/cnode-go/cnode/nodes/supervisor"
)

// The shell's helpers by rpc:call print where the caller prints, in the columns of OTP's own.
func TestShellByRPC(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		m := meet(t, r, nil)
		// the headings are those that the Erlang node prints of itself
		head := `Head = fun(T, Of) -> [L || L <- string:split(T, "\n", all), string:find(L, Of) =/= nomatch] end,
			Here = fun(F) -> looker:printed(fun() -> ok = c:F() end) end,
			There = fun(F) -> looker:printed(fun() -> ok = rpc:call(N, c, F, []) end) end, `
		m.is("{true,true}", head+`{hd(Head(Here(i), "Initial Call")) =:= hd(Head(There(i), "Initial Call")),
			Head(Here(i), "Stack") =:= Head(There(i), "Stack")}`)
		m.is("{true,true}", head+`{Head(Here(regs), "Initial Call") =:= Head(There(regs), "Initial Call"),
			Head(Here(regs), "Command") =:= Head(There(regs), "Command")}`)
		require.Regexp(t, `<0\.\d+\.0> +\S+ +\d+ +0 +5\\n`+`jobs +nodes:waiting/0 +\d+`, m.eval(head+`lists:flatten(There(i))`))
		require.Regexp(t, `\\ntill +<0\.\d+\.0> +\S+ +\d+ +0\\n`, m.eval(head+`lists:flatten(There(regs))`))
		require.Regexp(t, `^"\d+ seconds\\n"$`, m.eval(head+`There(uptime)`))
		m.is("{true,true}", `{is_integer(rpc:call(N, c, memory, [total])),
			[K || {K, _} <- c:memory()] -- [K || {K, _} <- rpc:call(N, c, memory, [])] =:= []}`)
	})
}

// What a module has, and an application, is told as a BEAM tells it.
func TestModulesAndApplications(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		m := meet(t, r, &observer.Options{Application: "shop", Description: "a shop", Version: "1.2"})
		m.n.Expose("shop", "quote", nodes.FuncOf(func(string, int) int { return 1 }))
		m.n.Expose("shop", "all", nodes.FuncOf(func(...int) int { return 1 }))
		m.is("[{module_info,0},{module_info,1},{all,0},{quote,2}]", `proplists:get_value(exports, rpc:call(N, shop, module_info, []))`)
		m.is("[{module_info,0},{module_info,1},{all,0},{quote,2}]", `erpc:call(N, shop, module_info, [exports])`)
		m.is("[]", `[K || {K, _} <- rpc:call(N, shop, module_info, [])] -- [K || {K, _} <- lists:module_info()]`)
		m.is("true", `lists:all(fun(K) -> rpc:call(N, shop, module_info, [K]) =/= undef end, [module, functions, attributes, compile])`)
		m.is("true", `erpc:call(N, erlang, function_exported, [shop, module_info, 1])`)
		m.is("true", `lists:member({procs_info, 1}, erpc:call(N, observer_backend, module_info, [exports]))`)
		m.is("[badarg,undef,undef]", `[begin {_, {'EXIT', {Why, _}}} = rpc:call(N, M, module_info, A), Why end ||
			{M, A} <- [{shop, [what]}, {shop, [1, 2]}, {nobody, []}]]`)

		m.is(`[{shop,"a shop","1.2"}]`, `rpc:call(N, application_controller, which_applications, [])`)
		m.is("{shop,[till]}", `M = rpc:call(N, application_controller, get_master, [shop]),
			{P, App} = rpc:call(N, application_master, get_child, [M]),
			{App, [Name || {registered_name, Name} <- [rpc:call(N, erlang, process_info, [P, registered_name])]]}`)
		// a supervisor before what only has a child: it is asked for its children
		_, err := supervisor.Start(t.Context(), m.n, "boss", nil,
			supervisor.Server("stock", func() nodes.Server { return nodes.Server{} }, nil))
		require.NoError(t, err)
		m.is("[{stock,worker}]", `M = rpc:call(N, application_controller, get_master, [shop]),
			{P, shop} = rpc:call(N, application_master, get_child, [M]),
			[{Id, Type} || {Id, _, Type, _} <- supervisor:which_children(P)]`)

		// nodes, with what is to be known of them
		m.is("{true,true}", `Both = #{node_type => true, connection_id => true},
			Shape = fun(L) -> lists:sort([{T, is_integer(Id) orelse Id} ||
				{_, #{node_type := T, connection_id := Id} = I} <- L, map_size(I) =:= 2]) end,
			There = Shape(rpc:call(N, erlang, nodes, [known, Both])),
			{There =:= [{this,undefined},{visible,true}] orelse There, Shape(nodes(this, Both)) =:= [{this,undefined}]}`)
		m.is("true", `rpc:call(N, erlang, nodes, [[this, connected], #{node_type => true}]) =:=
			[{N, #{node_type => this}}, {node(), #{node_type => visible}}]`)
		m.is("[{badrpc,badarg},{badrpc,badarg},{badrpc,badarg},[]]", `[case rpc:call(N, erlang, nodes, A) of
			{badrpc, {'EXIT', {Why, _}}} -> {badrpc, Why}; L -> [I || {_, I} <- L, map_size(I) > 0] end ||
			A <- [[this, #{what => true}], [this, []], [this, #{node_type => 1}], [this, #{node_type => false}]]]`)

		// allocators, as of the node itself: an atom's instances, or {Name, Instances} of a list
		shape := `Is = fun(I) -> is_list(I) andalso lists:all(fun({instance, K, L}) -> is_integer(K) andalso is_list(L) end, I) end, `
		m.is("{true,true}", shape+`{Is(erlang:system_info({allocator_sizes, ll_alloc})),
			Is(rpc:call(N, erlang, system_info, [{allocator_sizes, heap}]))}`)
		m.is("[heap,stacks]", shape+`[begin true = Is(I), A end ||
			{A, I} <- rpc:call(N, erlang, system_info, [{allocator_sizes, [heap, stacks]}])]`)
		m.is("true", shape+`lists:all(fun(A) -> Is(erpc:call(N, erlang, system_info, [{allocator_sizes, A}])) end,
			erpc:call(N, erlang, system_info, [alloc_util_allocators]))`)
		m.is("[badarg,badarg,badarg]", `[begin {_, {'EXIT', {Why, _}}} = rpc:call(N, erlang, system_info, [{allocator_sizes, A}]), Why end ||
			A <- [what, [heap, what], 1]]`)
	})
}
