package discovery

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/epmd"
)

// EPMD is a Source that names all nodes which are registered at the port mappers of some
// hosts: alive@host, with the host as it is written here. Those of other clusters are among them,
// if the hosts have any: see Options.Only. Opposite it are libcluster's
//
//	strategy: Cluster.Strategy.LocalEpmd                     EPMD{}
//	strategy: Cluster.Strategy.ErlangHosts (.hosts.erlang)   EPMD{Hosts: …}
//
// which ask once (ErlangHosts: as often as its timeout says).
type EPMD struct {
	// Hosts; none: that of the node's own name.
	Hosts []string
	// Client speaks to the port mappers, each on the port of its Addr. The zero value follows
	// ERL_EPMD_PORT.
	Client   epmd.Client
	Interval time.Duration // between questions; 0: as often as libcluster
}

// Nodes asks the port mappers, all at once, at intervals. If one does not answer, the names that it
// had stay; the error is a *nodes.Error that names the host, with an *epmd.Error.
func (p EPMD) Nodes(ctx context.Context, n *nodes.Node) iter.Seq2[[]string, error] {
	known := map[string][]string{} // by host
	return func(yield func([]string, error) bool) {
		var missing error
		var last []string
		for names := range poll(ctx, p.Interval, func(ctx context.Context) (names []string, err error) {
			names, missing = p.look(ctx, n, known)
			return names, nil
		}) {
			isNews := missing == nil || !slices.Equal(names, last)
			last = names
			if isNews && !yield(names, nil) || missing != nil && !yield(nil, missing) {
				return
			}
		}
	}
}

// look asks the port mappers. known are the names that each had.
func (p EPMD) look(ctx context.Context, n *nodes.Node, known map[string][]string) (names []string, err error) {
	hosts := slices.Compact(slices.Sorted(slices.Values(p.Hosts)))
	if len(hosts) == 0 {
		_, host, _ := strings.Cut(n.Name(), "@")
		if host == "" {
			return nil, wrap("list the nodes of", "the node's own host", nodes.ErrUnnamed)
		}
		hosts = []string{host}
	}
	type answer struct {
		host  string
		names []epmd.NamePort
		err   error
	}
	answers := make(chan answer, len(hosts))
	for _, host := range hosts {
		go func() {
			_, list, err := p.Client.Names(ctx, host)
			answers <- answer{host, list, err}
		}()
	}
	for range hosts {
		a := <-answers
		if a.err != nil {
			err = errors.Join(err, wrap("list the nodes of", a.host, a.err))
			continue
		}
		var there []string
		for _, e := range a.names {
			if name := e.Name + "@" + a.host; dist.CheckName(name) == nil { // a port mapper takes any name
				there = append(there, name)
			}
		}
		known[a.host] = there
	}
	for _, host := range hosts {
		names = append(names, known[host]...)
	}
	return names, err
}
