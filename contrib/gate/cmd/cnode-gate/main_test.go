package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/gate"
	"github.com/cnode-go/cnode/nodes/permit"
)

// What is learned can be put into a file as it is printed; what no rule allows stands below.
func TestLearnedRules(t *testing.T) {
	var l learned
	hear := func(op permit.Op, target string, times int, always bool) {
		for range times {
			l.hear(gate.Decision{Request: gate.Request{Peer: "ci@build", Op: op, Target: target}, Rule: -1, Reason: "why", Always: always})
		}
	}
	hear(permit.Send, "#Pid<shop@inside.1.2.3>", 1, false)
	hear(permit.Request, "till", 3, false)
	hear(permit.Send|permit.Request, "till", 3, false)
	hear(permit.Send, "net_kernel", 2, true)
	hear(permit.Send, "#Ref<1.2.3>", 1, false)
	var b strings.Builder
	l.print(&b)
	require.Equal(t, `{rules, [
  {allow, "ci@build", request, "till"},  % 3 times
  {allow, "ci@build", send, "#talked"}  % 1 times
]}
%% No rule that names a target lets these pass:
%%   ci@build send an alias: passes by a rule of the target "*" only, 1 times
%%   ci@build send net_kernel: why, 2 times
`, b.String())
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
