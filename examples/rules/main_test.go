//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
)

// A BEAM asks for rules that hold, do not hold, are none, and cost too much.
func TestRules(t *testing.T) {
	program := filepath.Join(t.TempDir(), "rules")
	out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	otp.Each(t, func(t *testing.T, r otp.Release) {
		e := r.Start(t, otp.Options{})
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), "CNODE_NODE=rules@127.0.0.1", "CNODE_COOKIE="+e.Cookie(),
			"CNODE_PARENT="+e.Name(), "ERL_EPMD_PORT="+strconv.Itoa(e.EpmdPort()))
		in, err := cmd.StdinPipe() // its end is the program's
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		defer func() {
			require.NoError(t, in.Close())
			require.NoError(t, cmd.Wait())
		}()
		require.Equal(t, "ok", e.Do(t, `Up = fun Up() ->
			net_adm:ping('rules@127.0.0.1') =:= pong orelse begin timer:sleep(20), Up() end end, Up(), ok`))
		for rule, want := range map[string]string{
			`order.total < 100.0 && order.country in ["DE", "FR"]`: "{ok,true}",
			`"coffee" in order.items`:                              "{ok,false}",
		} {
			require.Equal(t, want, e.Eval(t, allowed(rule)), rule)
		}
		require.Contains(t, e.Eval(t, allowed(`order.totl < 1.0`)), "undefined field 'totl'")
		require.Contains(t, e.Eval(t, allowed(`[0,1,2,3,4,5,6,7,8,9].all(a, [0,1,2,3,4,5,6,7,8,9].all(b, [0,1,2,3,4,5,6,7,8,9].all(c,
			[0,1,2,3,4,5,6,7,8,9].all(d, a + b + c + d < 40))))`)), "cost limit exceeded")
		require.Equal(t, "[{1,15,true}]", e.Eval(t, `[{L, C, is_binary(M)} ||
			#{line := L, column := C, message := M} <- erpc:call('rules@127.0.0.1', rules, check, [<<"order.total > ">>])]`))
		require.Equal(t, "[]", e.Eval(t, `erpc:call('rules@127.0.0.1', rules, check, [<<"true">>])`))
	})
}

func allowed(rule string) string {
	return `erpc:call('rules@127.0.0.1', rules, allowed, [<<` + strconv.Quote(rule) + `>>,
		#{total => 9.5, country => <<"DE">>, items => [<<"tea">>]}])`
}
