// Package health has the answers that Kubernetes, load balancers and other supervisors want of a
// node by HTTP: is it alive, ready for more, and started.
//
//	http.Handle("/health/", http.StripPrefix("/health", health.Handler(n)))
//
// # Stability
//
// The names are stable, and so are the status codes. The texts of the answers are for people, and
// may change.
package health

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/cnode-go/cnode/nodes"
)

// A Check says what is wrong; nil: nothing is. It returns when ctx, that of the request, ends.
type Check func(ctx context.Context, n *nodes.Node) error

// Peers is a Check that the node is connected to so many others, at least.
func Peers(least int) Check {
	return func(_ context.Context, n *nodes.Node) error {
		if have := len(n.Peers()); have < least {
			return fmt.Errorf("connected to %d nodes, not to %d", have, least)
		}
		return nil
	}
}

// Handler answers /live, /ready, with the checks, and /startup.
func Handler(n *nodes.Node, ready ...Check) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/live", Live(n))
	mux.Handle("/ready", Ready(n, ready...))
	mux.Handle("/startup", Startup(n))
	return mux
}

// Live answers yes until the node has ended, by Close or Shutdown. A node that drains is alive, and
// so is one that goes on in another process: that answers the next request.
func Live(n *nodes.Node) http.Handler {
	return answer(n, nil, func(s nodes.State) bool { return s < nodes.StateClosed })
}

// Startup answers yes as soon as Start has succeeded, and from then on as Live does.
func Startup(n *nodes.Node) http.Handler {
	return answer(n, nil, func(s nodes.State) bool { return s >= nodes.StateRunning && s < nodes.StateClosed })
}

// Ready answers yes while the node runs, if all checks agree. That ends when the node begins to
// drain: it serves on (Config.DrainGrace), while whoever asks here looks for another one. A node
// that goes on in another process is answered for, without the checks, until this process ends.
func Ready(n *nodes.Node, checks ...Check) http.Handler {
	return answer(n, checks, func(s nodes.State) bool { return s == nodes.StateRunning })
}

// answer is 200 or 503, with the node's state as text, and what is wrong. A node that has moved is
// no failure: who has just asked here is to ask again, over a connection of the other process's.
func answer(n *nodes.Node, checks []Check, good func(s nodes.State) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		state, status := n.State(), http.StatusOK
		text := state.String()
		if errors.Is(n.Err(), nodes.ErrMoved) {
			text = "moved to another process"
			w.Header().Set("Connection", "close")
		} else if !good(state) {
			status = http.StatusServiceUnavailable
		} else {
			for _, check := range checks {
				if err := check(r.Context(), n); err != nil {
					status, text = http.StatusServiceUnavailable, text+": "+err.Error()
				}
			}
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		fmt.Fprintln(w, text)
	})
}
