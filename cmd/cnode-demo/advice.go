package main

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/ask"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/mapper"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/move"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/top"
	"github.com/cnode-go/cnode/cmd/internal/advice"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/upgrade"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/service"
)

// advices are about the errors of this program's commands alone.
var advices = []advice.Kind{
	{Name: "own port mapper", About: func(err error) string {
		var m *mapper.Error
		switch {
		case !errors.As(err, &m):
			return ""
		case errors.Is(err, syscall.EADDRINUSE):
			return "The port is in use, most likely by another port mapper (epmd). Nodes find that one by themselves (--epmd auto). Or\n" +
				"end it (epmd -kill), or choose another port with ERL_EPMD_PORT, the same for all nodes."
		}
		return "Port mappers listen on addresses of this machine: see --listen and ERL_EPMD_ADDRESS, and ERL_EPMD_PORT for the port."
	}},
	{Name: "Elixir's module", About: func(err error) string {
		var e *ask.ElixirError
		var r *nodes.RPCError
		if !errors.As(err, &e) || !errors.As(err, &r) || !undefined(r.Reason) {
			return ""
		}
		return fmt.Sprintf("%s is what Elixir calls a module: add --syntax elixir, or say Elixir.%[1]s.", e.Module)
	}},
	{Name: "refused to watch", About: advice.Is(top.ErrRefused,
		"The node's rules (Config.Rules) do not let this node look: observer.Rules in that program has those that do, for the names of\n"+
			"nodes. If they name one, take it with --name.")},
	{Name: "nothing to watch", About: func(err error) string {
		if !errors.Is(err, top.ErrNothing) {
			return ""
		}
		return "top shows a BEAM, or a Go node that has nodes/observer: observer.Serve in the program (docs/operate/look-inside.md), or serve\n" +
			"--operator. cnode-demo ping tells whether this one is well."
	}},
	{Name: "no such function", Section: "badarg-or-undef-from-a-go-function", About: func(err error) string {
		var r *nodes.RPCError
		if !errors.As(err, &r) || !undefined(r.Reason) {
			return ""
		}
		return "There is no such function with that number of arguments on that node. ARGS is the list of the arguments: '[[1,2]]' is one\n" +
			"argument, a list; '[1,2]' are two."
	}},
	{Name: "another address", About: advice.Is(upgrade.ErrListens,
		"Leave out --listen and --also, and give the --transport that the running node has. To change them, end that node.")},
	{Name: "socket of systemd", About: advice.Is(nodes.ErrActivation,
		"The first ListenStream= is for --transport, which --listen need not repeat; those that follow are for --also, in the same order and\n"+
			"at the same addresses. One unit with all of them keeps their order. See docs/operate/upgrade.md.")},
	{Name: "plug-in", About: func(err error) string {
		if !errors.Is(err, handoff.ErrUnknown) || !strings.Contains(err.Error(), "plug-in") {
			return ""
		}
		return "The running node has a --transport (or an --also) that this command line lacks: give the same, for TLS with --tls-optfile."
	}},
	{Name: "workers", About: func(err error) string {
		if !errors.Is(err, handoff.ErrUnknown) || !strings.Contains(err.Error(), "feature") {
			return ""
		}
		return "A node with workers can be taken over only by a serve with workers, and one without only by one without: give --workers N as\n" +
			"the running node has it, or leave it out; or use cnode-demo upgrade, which starts the program with the running node's flags."
	}},
	{Name: "upgrade not heard of", About: advice.Is(service.ErrUnsaid,
		"serve may still be doing it, or have done it: cnode-demo call NAME cnode pid, with serve's cookie and transport, tells which\n"+
			"process serves. If it is the old one, upgrade again, which is refused while one is going on.")},
	{Name: "upgraded to a silent process", About: advice.Is(service.ErrSilent,
		"If that process is gone, so is the node: start it again with serve. Its standard error, which is that of the first serve, may say\n"+
			"why. If it is there, cnode-demo call NAME cnode pid, with serve's cookie and transport, tells whether it answers by now.")},
	{Name: "upgraded with trouble", About: advice.Is(move.ErrTroubledOwner,
		"That process is the node now: cnode-demo call NAME cnode pid, with serve's cookie and transport,\n"+
			"tells whether it answers.")},
	{Name: "upgrade of workers not heard of", About: advice.Is(move.ErrWorkersUnsaid,
		"They are upgraded one after the other, which may still be going on. If in doubt, upgrade again: that is refused as long as it is.")},
	{Name: "another hand-off", Section: "another-hand-off-is-going-on", About: advice.Is(handoff.ErrBusy,
		"Another process is taking the node over, or the running one is not done yet with one that it refused: try again in a moment.")},
	{Name: "no serve", About: advice.Is(move.ErrNoServe,
		"Give the whole name, host part included, as serve printed it after \"ready\". Its control socket is found by "+
			"XDG_RUNTIME_DIR,\n"+
			"or else by the temporary folder (TMPDIR): they have to be the same here and there. A control\n"+
			"socket that has been removed is made anew within seconds, as soon as that folder is there.\n"+
			"A program of your own with nodes/upgrade has such a socket if its Upgrader.Control is service.ControlPath(NAME); kill -HUP PID\n"+
			"upgrades it in any case.")},
	{Name: "no program", About: advice.Is(syscall.ENOEXEC,
		"The system knows no such program: is it for another processor? A script needs a first line such as #!/bin/sh.")},
	{Name: "time of a hand-off", About: func(err error) string {
		var h *handoff.Error
		if !advice.Late(err) || !errors.As(err, &h) || h.Owns {
			return ""
		}
		return "The other process did not do its part in time: it is stopped or very busy. " +
			"The node stays where it was; try again once that process\n" +
			"answers (cnode-demo call NAME cnode pid)."
	}},
}

// undefined tells whether the reason of a {badrpc, Reason} is the exception undef: {'EXIT', {undef,
// Stack}}.
func undefined(reason ei.Term) bool {
	exit, ok := reason.(ei.Tuple)
	if !ok || len(exit) != 2 || exit[0] != ei.Atom("EXIT") {
		return false
	}
	exception, ok := exit[1].(ei.Tuple)
	return ok && len(exception) == 2 && exception[0] == ei.Atom("undef")
}
