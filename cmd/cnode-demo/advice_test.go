package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/ask"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/mapper"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/move"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/stay"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/top"
	"github.com/cnode-go/cnode/cmd/internal/advice"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/upgrade"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/service"
	"github.com/stretchr/testify/require"
)

// Each advice of this program alone has a row here; errors come wrapped as the packages wrap them.
func TestAdvice(t *testing.T) {
	socket := func(op string, err error) error {
		return &nodes.Error{Op: op, Peer: "x@host", Err: &transport.OpError{Op: op, Err: err}}
	}
	undef := ei.Tuple{ei.Atom("EXIT"), ei.Tuple{ei.Atom("undef"), ei.List{}}}
	told := map[string]bool{}
	for _, tt := range []struct {
		kind string
		err  error
		want string
	}{
		{"own port mapper", &mapper.Error{Addrs: []string{"127.0.0.1:4369"}, Err: syscall.EADDRINUSE}, "--epmd auto"},
		{"own port mapper", &mapper.Error{Addrs: []string{"10.1.1.1:4369"}, Err: syscall.EADDRNOTAVAIL}, "ERL_EPMD_ADDRESS"},
		{"Elixir's module", &ask.ElixirError{Module: "Enum", Err: &nodes.RPCError{Reason: undef}}, "say Elixir.Enum"},
		{"nothing to watch", top.ErrNothing, "nodes/observer"},
		{"refused to watch", top.ErrRefused, "observer.Rules"},
		{"no program", &stay.StartError{Err: syscall.ENOEXEC}, "#!/bin/sh"},
		{"no such function", &nodes.Error{Op: "call", Err: &nodes.RPCError{Reason: undef}}, "one\n  argument, a list"},
		{"workers", &handoff.Error{Err: fmt.Errorf("%w: feature %q", handoff.ErrUnknown, "cnode-upgrade-front-2")}, "--workers N"},
		{"plug-in", &handoff.Error{Err: fmt.Errorf("%w: plug-in %q", handoff.ErrUnknown, "tls")}, "--tls-optfile"},
		{"socket of systemd", fmt.Errorf("%w: there are 3", nodes.ErrActivation), "ListenStream="},
		{"another address", fmt.Errorf("%w: it listens elsewhere", upgrade.ErrListens), "end that node"},
		{"upgrade not heard of", fmt.Errorf("x@host (process 1) %w: %w", service.ErrUnsaid, context.DeadlineExceeded), "call NAME cnode pid"},
		{"upgrade not heard of", fmt.Errorf("x@host (process 1) %w: %w", service.ErrUnsaid, context.Canceled), "call NAME cnode pid"},
		{"upgraded to a silent process", fmt.Errorf("process 2 %w: step take", service.ErrSilent), "start it again"},
		{"upgraded with trouble", fmt.Errorf("process 2 %w: no port mapper", move.ErrTroubledOwner),
			"call NAME cnode pid"},
		{"upgrade of workers not heard of", fmt.Errorf("x@host is upgraded, and %w: %w", move.ErrWorkersUnsaid, move.ErrNoServe),
			"one after the other"},
		{"another hand-off", &handoff.Error{Err: &handoff.RefusedError{Reason: "busy", Err: handoff.ErrBusy}}, "try again in a moment"},
		{"no serve", fmt.Errorf("%w x@host: %w", move.ErrNoServe, socket("connect", syscall.ENOENT)), "after \"ready\""},
		{"no serve", move.ErrNoServe, "kill -HUP PID"},
		{"time of a hand-off", &handoff.Error{Err: fmt.Errorf("no token: %w", os.ErrDeadlineExceeded)}, "stays where it was"},
	} {
		told[tt.kind] = true
		text := advice.Of(fmt.Errorf("while trying: %w", tt.err), advices...)
		require.Contains(t, text, tt.err.Error(), tt.kind)
		require.Contains(t, text, tt.want, tt.kind)
		for _, k := range advices {
			if k.About(tt.err) != "" { // the first counts
				require.Equal(t, tt.kind, k.Name, text)
				break
			}
		}
	}
	page, err := os.ReadFile("../../docs/operate/troubleshooting.md")
	require.NoError(t, err)
	slugs := strings.NewReplacer(" ", "-", "`", "", ",", "").Replace(strings.ToLower(string(page)))
	for _, k := range advices {
		require.True(t, told[k.Name], "no row for %q", k.Name)
		require.True(t, k.Section == "" || strings.Contains(slugs, "#-"+k.Section+"\n"), "the page has no section %q", k.Section)
	}
	require.Contains(t, advice.Of(handoff.ErrBusy, advices...), "troubleshooting.md#another-hand-off-is-going-on")
	other := &nodes.RPCError{Reason: ei.Tuple{ei.Atom("EXIT"), ei.Atom("boo")}}
	require.Equal(t, other.Error(), advice.Of(other, advices...))
}
