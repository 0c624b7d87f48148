package interop

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A talk is something that is said with an Erlang node, by a node of ours that nobody else has.
type talk struct {
	name string
	talk func(t *testing.T, m *meeting)
}

// What nodes say to each other most.
func TestVocabulary(t *testing.T) {
	together(t, []talk{
		{"connect", connect}, {"names that are given", dynamicName},
		{"calls of Erlang", callErlang}, {"calls of gen_servers", callGenServer}, {"called by Erlang", calledByErlang}, {"server", callServer},
		{"typed calls of Erlang", typedCalls}, {"typed, called by Erlang", typedCalled},
		{"monitors", monitorErlang}, {"exit signals", exitSignals}, {"all sizes", sizesBothWays},
		{"libei's server", fromLibeiServer}, {"libei's client", fromLibeiClient}, {"libei's signals", fromLibeiByHand},
	})
}

// The rest of it.
func TestFinerPoints(t *testing.T) {
	together(t, []talk{
		{"wrong cookie", wrongCookie}, {"too few flags", tooFewFlags}, {"version 5", version5}, {"a name twice", duplicateName},
		{"both at once", simultaneousConnects}, {"ours under way", simultaneousOurs}, {"theirs under way", simultaneousTheirs},
		{"many at once", connectTogether}, {"headers by flags", headersFollowTheFlags},
		{"casts", castGenServer}, {"forwarded calls", forwardedCall}, {"why a call fails", printsWhy}, {"trace labels", traceLabel},
		{"monitored by Erlang", monitoredByErlang}, {"links", links}, {"races of links", linkRaces},
		{"aliases", aliasOfOurs}, {"late replies", lateReply}, {"priority", priority},
		{"order", order}, {"back-pressure", backPressure}, {"a full mailbox", fullMailbox}, {"too long a frame", maxFrame},
		{"great calls", greatCalls}, {"great reasons", greatReasons},
		{"atom cache", atomCacheOverwritten}, {"atoms to nobody", atomCacheOfNobody}, {"a raw term that is none", malformedRaw},
		{"global names by libei", fromLibeiGlobal}, {"shutdown", shutDown}, {"a node that dies", erlangDies},
	})
}

// together has one Erlang node of each release for all talks, one after the other.
func together(t *testing.T, talks []talk) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := start(t, r, otp.Options{EpmdPort: port})
		for _, x := range talks {
			t.Run(x.name, func(t *testing.T) {
				erl.Anew(t)
				x.talk(t, &meeting{erl: erl, n: startNode(t, config(port))})
			})
		}
	})
}

// With an Erlang node end our calls of it, our links and monitors.
func erlangDies(t *testing.T, m *meeting) {
	ctx := background(t)
	load(t, m.erl, "counter")
	pid := m.pid(t, "counter:start()")
	errs := make(chan error)
	go func() {
		_, err := m.n.RPC(ctx, m.erl.Name(), "timer", "sleep", 60_000)
		errs <- err
	}()
	go func() {
		_, err := m.n.Call(ctx, pid, term(t, "never"))
		errs <- err
	}()
	m.tell(t, "P", pid)
	m.erl.Becomes(t, m.about(`{length(element(2, process_info(P, monitored_by))), [sleeps || Q <- processes(),
		{current_function, {timer, sleep, 1}} <- [process_info(Q, current_function)]]}`), "{1,[sleeps]}")
	watcher, linked := m.mailbox(t, "W", nil), m.mailbox(t, "L", &nodes.MailboxOptions{TrapExit: true})
	_, err := watcher.Monitor(ctx, pid)
	require.NoError(t, err)
	_, err = watcher.MonitorName(ctx, m.erl.Name(), "init")
	require.NoError(t, err)
	require.NoError(t, linked.Link(ctx, pid))
	c := m.n.Conn(m.erl.Name())
	m.erl.Kill()
	for range 2 {
		require.ErrorIs(t, await(t, errs), nodes.ErrNoConnection)
		d, err := watcher.Receive(ctx)
		require.NoError(t, err)
		require.Equal(t, dist.OpMonitorPExit, d.Op)
		require.Equal(t, "noconnection", d.Reason.String())
	}
	require.Equal(t, "noconnection", exit(t, linked, pid))
	await(t, c.Done())
	require.Error(t, c.Err())
	_, err = m.n.Call(ctx, pid, term(t, "{add,1}"))
	require.ErrorIs(t, err, nodes.ErrNoConnection)
}
