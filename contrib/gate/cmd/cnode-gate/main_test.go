package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/gate"
)

// What is learned can be put into a file as it is printed; what no rule allows stands below.
func TestLearnedRules(t *testing.T) {
	var l learned
	hear := func(op gate.Op, target string, times int, always bool) {
		for range times {
			l.hear(gate.Decision{Request: gate.Request{Peer: "ci@build", Op: op, Target: target}, Rule: -1, Reason: "why", Always: always})
		}
	}
	hear(gate.MaySend, "#Pid<shop@inside.1.2.3>", 1, false)
	hear(gate.MayRequest, "till", 3, false)
	hear(gate.MaySend|gate.MayRequest, "till", 3, false)
	hear(gate.MaySend, "net_kernel", 2, true)
	hear(gate.MaySend, "#Ref<1.2.3>", 1, false)
	var b strings.Builder
	l.print(&b)
	require.Equal(t, `{rules, [
  {allow, "ci@build", request, "till"},  % 3 times
  {allow, "ci@build", send, "#talked"}  % 1 times
]}
%% No rule that names peer and target lets these pass:
%%   ci@build send an alias: passes by a rule of the target "*" only, 1 times
%%   ci@build send net_kernel: why, 2 times
`, b.String())
}

// A peer writes no rules: what it calls things is no pattern, no word of a rule, and no line of its
// own; a name that a rule can be about is quoted as Erlang reads it.
func TestLearnedNamesOfPeers(t *testing.T) {
	send := func(peer, target string) gate.Request {
		return gate.Request{Peer: peer, Op: gate.MaySend, Target: target}
	}
	call := func(module, name string) gate.Request {
		return gate.Request{Peer: "ci@h", Op: gate.MayCall, Target: module + ":" + name + "/0", Module: module, Name: name}
	}
	asked := map[gate.Request]string{ // the rule, or the line below
		send("ci@h", `x"}, {allow, "*", any, "y`): `ci@h send "x\"}, {allow, \"*\", any, \"y": no rule can name it`,
		send("ci@h", `x"} y`):                     `{allow, "ci@h", send, "x\"} y"}`,
		send("ci@h", "ünï\x7f\u0085"):             `{allow, "ci@h", send, "ünï\x{7f}\x{85}"}`,
		call("os", "cmd/1"):                       `{allow, "ci@h", call, "os:cmd/1/0"}`,
		send("ci@h", "*"):                         `ci@h send *: no rule can name it`,
		send("ci*@*", "till"):                     `ci*@* send till: no rule can name it`,
		send("ci@h", ""):                          `ci@h send "": no rule can name it`,
		send("ci@h", gate.Talked):                 `ci@h send #talked: no rule can name it`,
		call("*", "*"):                            `ci@h call *:*/0: no rule can name it`,
		call("a:b", "c"):                          `ci@h call a:b:c/0: no rule can name it`,
		call("", "c"):                             `ci@h call :c/0: no rule can name it`,
	}
	var l learned
	for r := range asked {
		l.hear(gate.Decision{Request: r, Rule: -1})
	}
	l.hear(gate.Decision{Request: send("ci@h", "x\n{rules, []}"), Rule: -1, Always: true, Reason: "why"})
	var b strings.Builder
	l.print(&b)
	for r, want := range asked {
		require.Contains(t, b.String(), want, "%+v", r)
	}
	require.Contains(t, b.String(), `%%   ci@h send "x\n{rules, []}": why, 1 times`)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.cookie"), []byte("a"), 0o600))
	config := `[{outside, [{cookie_file, "a.cookie"}, {listen, "127.0.0.1"}, {names, ["*"]}]}, {inside, [{cookie_file, "a.cookie"},
		{nodes, [{"a@b", [{port, 9100}, {address, "127.0.0.1:9101"}]}]}]},` + b.String() + "]."
	require.NoError(t, os.WriteFile(filepath.Join(dir, "gate.config"), []byte(config), 0o600))
	cfg, err := gate.ReadConfig(filepath.Join(dir, "gate.config"))
	require.NoError(t, err, config)
	require.Len(t, cfg.Rules, 3)
	for r, want := range asked {
		d, err := cfg.Explain(r)
		require.NoError(t, err)
		require.Equal(t, strings.HasPrefix(want, "{"), d.Allowed, "%+v", r)
	}
}

// What was recorded before is never written over.
func TestNewFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gate.pcap")
	for _, want := range []string{"gate.pcap", "gate-2.pcap", "gate-3.pcap"} {
		f, err := newFile(path)
		require.NoError(t, err)
		require.Equal(t, want, filepath.Base(f.Name()))
		require.NoError(t, f.Close())
	}
	_, err := newFile(filepath.Join(path, "no", "directory"))
	require.Error(t, err)
}
