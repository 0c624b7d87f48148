package nodes

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// erlang:apply calls what is exposed, as in Erlang, until a program exposes one of its own.
func TestApply(t *testing.T) {
	n := newWorld(t, "memory").started("alice")
	exposeAll(n)
	apply := func(args ei.List) string {
		result, raise := n.funcs.apply(soon(t), MayCall, "erlang", "apply", args, nil)
		if raise != nil {
			return ei.Tuple{ei.Atom(raise.Class), raise.Reason, raise.Stack}.String()
		}
		return decode(t, result).String()
	}
	for _, tt := range []struct{ args, want string }{ // the result, or class, reason and stack
		{`[m,echo,[1]]`, `[1]`},
		{`[m,echo,"ab"]`, `[97,98]`},
		{`[fun m:echo/0,[]]`, `[]`},
		{`[fun m:echo/2,[1,2]]`, `[1,2]`},
		{`[erlang,apply,[fun m:echo/1,[1]]]`, `[1]`},
		{`[fun erlang:apply/3,[m,echo,[]]]`, `[]`},
		{`[fun m:throw/0,[]]`, `{throw,{bad,1},[{m,throw,0,[]}]}`},
		{`[fun m:missing/1,[1]]`, `{error,undef,[{m,missing,[1],[]}]}`},
		{`[fun m:echo/1,[]]`, `{error,{badarity,{fun m:echo/1,[]}},[{erlang,apply,[fun m:echo/1,[]],[]}]}`},
		{`[m,[]]`, `{error,{badfun,m},[{erlang,apply,[m,[]],[]}]}`},
		{`[m,echo,1]`, `{error,badarg,[{erlang,apply,[m,echo,1],[]}]}`},
		{`[fun m:echo/1,[a|1]]`, `{error,badarg,[{erlang,apply,[fun m:echo/1,[a|1]],[]}]}`},
		{`[1,echo,[]]`, `{error,badarg,[{erlang,apply,[1,echo,[]],[]}]}`},
		{`[m,1,[]]`, `{error,badarg,[{erlang,apply,[m,1,[]],[]}]}`},
		{`[m]`, `{error,undef,[{erlang,apply,[m],[]}]}`},
	} {
		require.Equal(t, tt.want, apply(parse(t, tt.args).(ei.List)), tt.args)
	}
	closure := ei.Fun{Module: "shell", Pid: ei.Pid{Node: "wire@test", ID: 1, Creation: 7}}
	require.Equal(t, "{error,undef,[{"+closure.String()+",[1],[]}]}", apply(ei.List{closure, ei.List{ei.Int(1)}}))
	n.Expose("erlang", "apply", func(context.Context, []ei.Term) (any, error) { return ei.Atom("mine"), nil })
	require.Equal(t, "mine", apply(parse(t, `[fun m:echo/0,[]]`).(ei.List)))
}

// What a call takes does not grow with the square of the depth of its applies.
func TestDeepApply(t *testing.T) {
	w := newWorld(t, "memory")
	n := w.started("alice")
	n.Expose("m", "double", FuncOf(func(n int) int { return 2 * n }))
	depth := 100_000
	if testing.Short() {
		depth /= 10
	}
	twice := ei.Raw{116, 0, 0, 0, 2, 97, 1, 97, 1, 97, 1, 97, 2} // a map with equal keys
	for _, tt := range []struct {
		inner ei.Term
		want  string
	}{
		{parse(t, `[m,double,[1000]]`), `2000`},
		{parse(t, `[fun m:double/1,[1000]]`), `2000`},
		{parse(t, `[m,double,[x]]`),
			`{badarg,[{m,double,[x],[]},{m,double,1,[{file,"argument 1: ei: atom x where an integer is due"},{line,0}]}]}`},
		{parse(t, `[m,double,1000]`), `{badarg,[{erlang,apply,[m,double,1000],[]}]}`},
		{ei.List{ei.Atom("m"), ei.Atom("double"), ei.List{twice}}, `{badarg,[{erlang,apply,3,[]}]}`},
	} {
		apply := append(ei.AppendListHeader(nil, 3), "w\x06erlangw\x05apply"...)
		inner := encode(t, tt.inner)
		args := append(append(bytes.Repeat(apply, depth), inner...), bytes.Repeat([]byte{byte(ei.TagNilExt)}, depth)...)
		call := newRexCall(w.ctx(), n.Name(), "erlang", "apply", ei.Raw(args))
		got := of(termOf(n.callTo(w.ctx(), bonds.Target{Node: n.Name(), Name: "rex"}, call))).must(t)
		if got.String() != tt.want {
			require.Equal(t, "{badrpc,{'EXIT',"+tt.want+"}}", got.String())
		}
	}
}

// The elements of a list are the same whether the list is decoded first, or they are taken out
// encoded and decoded then.
func FuzzElements(f *testing.F) {
	for _, text := range []string{"[]", "[1,2]", "[a,<<\"b\">>,[1000]]", "[a|b]", "{a}", "[[],[[]]]", "[#{a => 1}]"} {
		t := of(ei.Parse(text)).must(f)
		f.Add([]byte(encode(f, t)))
	}
	f.Add([]byte{108, 0, 0, 0, 1, 97, 1, 108, 0, 0, 0, 1, 97, 2, 106}) // in pieces
	f.Add(append([]byte{108, 0, 0, 1, 0}, make([]byte, 300)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, ok := otp.Elements(ei.Raw(b))
		whole, err := ei.Raw(b).Decode()
		if err != nil {
			return // perhaps one of the elements is at fault
		}
		want, isList := ei.Elements(whole)
		require.Equal(t, isList, ok)
		require.NoError(t, otp.Decode(list))
		require.True(t, ei.Identical(ei.List(list), want), "%v, not %v", list, want)
	})
}

// A function has 255 parameters at most, as in Erlang.
func TestMaxArity(t *testing.T) {
	n := newWorld(t, "memory").started("alice")
	count := FuncOf(func(args ...any) int { return len(args) })
	n.Expose("m", "count", count)
	serve(t, n, "srv", Server{On: map[string]Func{"count": count}})
	for _, size := range []int{255, 256} {
		args := make(ei.List, size)
		for i := range args {
			args[i] = ei.Int(1000)
		}
		got, err := RPCAs[int](soon(t), n, n.Name(), "erlang", "apply", ei.Atom("m"), ei.Atom("count"), args)
		reply, err2 := n.CallName(soon(t), n.Name(), "srv", ei.Tuple(append(ei.List{ei.Atom("count")}, args...)))
		require.NoError(t, err2)
		if size == otp.MaxArity {
			require.NoError(t, err)
			require.Equal(t, size, got)
			require.Equal(t, ei.Int(size), reply)
			continue
		}
		require.ErrorContains(t, err, "{badrpc,{'EXIT',{undef,[{m,count,[1000,")
		require.Equal(t, ei.Atom("error"), reply.(ei.Tuple)[0])
	}
}

// What was meant is a function with a name much like it, with so many arguments as it takes, and
// one that the peer may call.
func TestWhatWasMeant(t *testing.T) {
	w := newWorld(t, "memory")
	n := w.started("alice", func(cfg *Config) {
		cfg.Rules = []Rule{{Permission: MayCall, Target: "shop:secret", Allow: false}, {Permission: MayCall, Target: "*", Allow: true}}
	})
	b := w.started("bob")
	for _, name := range []string{"quote", "get_price", "secret", "add"} {
		n.Expose("shop", name, FuncOf(func(int) {}))
	}
	n.Expose("shop", "all", FuncOf(func(int, ...int) {}))
	n.Expose("Elixir.Shop", "terms", func(context.Context, []ei.Term) (any, error) { return nil, nil })
	for _, tt := range []struct {
		module, name string
		arity        int
		meant        string
	}{
		{"shop", "quot", 1, "shop:quote/1"},
		{"shop", "qoute", 1, "shop:quote/1"},
		{"shop", "quote", 3, "shop:quote/1"},
		{"shops", "quote", 1, "shop:quote/1"},
		{"Elixir.Shop", "quote", 2, "shop:quote/1"},
		{"shop", "getPrice", 1, "shop:get_price/1"},
		{"shop", "secrets", 1, ""},
		{"shop", "sub", 1, ""},
		{"shop", "all", 0, "shop:all/1"},
		{"shop", "alls", 7, "shop:all/7"},
		{"Elixir.Shop", "term", 2, "Elixir.Shop:terms/2"},
		{"lists", "reverse", 1, ""},
	} {
		args := make([]any, tt.arity)
		for i := range args {
			args[i] = 1
		}
		_, err := b.ERPC(w.ctx(), "alice@test", tt.module, tt.name, args...)
		require.ErrorContains(t, err, "undef")
		if tt.meant == "" {
			require.NotContains(t, err.Error(), "did you mean", tt)
		} else {
			require.ErrorContains(t, err, "did you mean "+tt.meant+"?")
		}
	}
}

// Every module has module_info, which shows of its functions those that the peer may call: each
// with the least number of arguments that it takes.
func TestModuleInfo(t *testing.T) {
	w := newWorld(t, "memory")
	n := w.started("alice", func(cfg *Config) {
		cfg.Rules = []Rule{{Target: "shop:secret"}, {Target: "till:module_info/1"},
			{Permission: MayCall, Target: "shop:job"},
			{Permission: MaySpawn, Target: "shop:job", Allow: true},
			{Permission: MayCall, Target: "*", Allow: true}}
	})
	b := w.started("bob")
	for _, name := range []string{"quote", "secret"} {
		n.Expose("shop", name, FuncOf(func(context.Context, int) {}))
	}
	n.Expose("shop", "all", FuncOf(func(int, ...int) {}))
	n.Expose("shop", "terms", func(context.Context, []ei.Term) (any, error) { return nil, nil })
	n.Expose("shop", "job", FuncOf(func() {}))
	n.Expose("till", "open", FuncOf(func() {}))
	n.Expose("own", "module_info", FuncOf(func() int { return 7 }))
	const exports = "[{module_info,0},{module_info,1},{all,1},{job,0},{quote,1},{terms,0}]"
	for _, tt := range []struct {
		module string
		args   []any
		want   string
	}{
		{"shop", []any{ei.Atom("exports")}, exports},
		{"shop", []any{ei.Atom("functions")}, exports},
		{"shop", []any{ei.Atom("module")}, "shop"},
		{"shop", []any{ei.Atom("attributes")}, "[]"},
		{"own", nil, "7"},
	} {
		got, err := b.ERPC(w.ctx(), "alice@test", tt.module, "module_info", tt.args...)
		require.NoError(t, err, tt)
		require.Equal(t, tt.want, got.String())
	}
	whole := of(b.ERPC(w.ctx(), "alice@test", "shop", "module_info")).must(t)
	require.Contains(t, whole.String(), "[{module,shop},{exports,"+exports+"},{attributes,[]},{compile,[{version,")
	for _, tt := range []struct {
		module string
		args   []any
		want   string
	}{
		{"shop", []any{ei.Atom("what")}, "badarg"}, {"shop", []any{1}, "badarg"}, {"shop", []any{1, 2}, "undef"},
		{"nobody", nil, "undef"}, {"till", []any{ei.Atom("exports")}, "eacces"},
	} {
		_, err := b.ERPC(w.ctx(), "alice@test", tt.module, "module_info", tt.args...)
		require.ErrorContains(t, err, tt.want, tt)
	}
}
