package discovery

import (
	"context"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// DNS is a Source that names a node at each address of a host name, the A and AAAA records of
// Query: Basename@10.0.0.7, Basename@fd00::7. A look-up that fails, also with the answer that there
// is no such name, changes nothing: libcluster then disconnects from all. A Resolver with
// StrictErrors also takes it for a failure if only one of the two kinds of records can be had.
// Opposite it is libcluster's
//
//	strategy: Cluster.Strategy.DNSPoll,
//	config: [polling_interval: 5_000, query: "my-app.example.com", node_basename: "my-app"]
type DNS struct {
	Query    string        // a host name; it is final if it ends with a dot, as everywhere
	Basename string        // what is before the "@" of all names
	Interval time.Duration // between look-ups; 0: as often as libcluster
	Resolver *net.Resolver // nil: net.DefaultResolver
}

// Nodes looks the host name up, at intervals. The error is a *nodes.Error with that of the
// Resolver, a *net.DNSError say.
func (d DNS) Nodes(ctx context.Context, _ *nodes.Node) iter.Seq2[[]string, error] {
	return poll(ctx, d.Interval, func(ctx context.Context) ([]string, error) {
		addrs, err := addresses(ctx, d.Resolver, d.Query)
		return namesOf(d.Basename, addrs, netip.Addr.String), wrap("look up nodes by", d.Query, err)
	})
}

// addresses are those of a host, each once.
func addresses(ctx context.Context, r *net.Resolver, host string) ([]netip.Addr, error) {
	addrs, err := orDefault(r).LookupNetIP(ctx, "ip", host)
	for i, a := range addrs {
		addrs[i] = a.Unmap()
	}
	return addrs, err
}

func orDefault(r *net.Resolver) *net.Resolver {
	if r == nil {
		return net.DefaultResolver
	}
	return r
}

// namesOf are the names of nodes at hosts of which text makes a name's host.
func namesOf[H any](basename string, hosts []H, text func(H) string) (names []string) {
	for _, h := range hosts {
		names = append(names, basename+"@"+text(h))
	}
	return names
}

// SRV is a Source that names a node at each target of the SRV records of Query:
// Basename@target. Look-ups that fail change nothing.
//
// It is also a nodes.Resolver, for clusters without a port mapper: as nodes.Config.Resolver it
// finds the nodes that Query has at the ports of their records. Peers find this node in the same
// way, so its own record has the port on which it listens (nodes.Config.Listen), and they are
// started with the port as well (erl -erl_epmd_port, or an epmd_module that asks DNS). Without that
// the ports are not used.
//
// libcluster has it for Kubernetes only (see Kubernetes); anywhere else
//
//	strategy: Cluster.Strategy.Epmd,
//	config: [hosts: [:"my-app@a.example.com", :"my-app@b.example.com"]]
type SRV struct {
	Query    string        // the name of the records: _cnode._tcp.example.com
	Basename string        // what is before the "@" of all names
	Interval time.Duration // between look-ups; 0: as often as libcluster
	Resolver *net.Resolver // nil: net.DefaultResolver
}

// Nodes looks the records up, at intervals. The error is a *nodes.Error with that of the Resolver,
// a *net.DNSError say.
func (s SRV) Nodes(ctx context.Context, _ *nodes.Node) iter.Seq2[[]string, error] {
	return poll(ctx, s.Interval, func(ctx context.Context) ([]string, error) {
		records, err := s.records(ctx)
		return namesOf(s.Basename, records, target), wrap("look up nodes by", s.Query, err)
	})
}

func (s SRV) records(ctx context.Context) ([]*net.SRV, error) {
	_, records, err := orDefault(s.Resolver).LookupSRV(ctx, "", "", s.Query)
	if len(records) > 0 { // then the error is about others, which have no proper target
		err = nil
	}
	return records, err
}

// target is the host that a record names.
func target(r *net.SRV) string { return strings.TrimSuffix(r.Target, ".") }

// Resolve finds the record whose target is the host of the node's name, and an address of the
// target, IPv4 before IPv6; it waits until ctx ends at most. The error is nodes.ErrUnknownNode if
// there is no such record, or the name has another part before the "@" than Basename;
// nodes.ErrUnknownHost if the target has no address; dist.ErrInvalidName if node is no node name;
// or that of the Resolver.
func (s SRV) Resolve(ctx context.Context, node string) (nodes.Endpoint, error) {
	alive, host, err := dist.SplitName(node)
	if err != nil {
		return nodes.Endpoint{}, err
	}
	records, err := s.records(ctx)
	if err != nil {
		return nodes.Endpoint{}, wrap("look up nodes by", s.Query, err)
	}
	for _, r := range records {
		if alive != s.Basename || !strings.EqualFold(target(r), host) {
			continue
		}
		addrs, err := addresses(ctx, s.Resolver, r.Target)
		if err != nil || len(addrs) == 0 {
			return nodes.Endpoint{}, fmt.Errorf("%w: %q: %w", nodes.ErrUnknownHost, host, err)
		}
		at := addrs[0]
		for _, a := range addrs {
			if a.Is4() {
				at = a
				break
			}
		}
		return nodes.Endpoint{Addr: transport.FromAddrPort(netip.AddrPortFrom(at, r.Port))}, nil
	}
	return nodes.Endpoint{}, fmt.Errorf("node %q among the records of %s: %w", node, s.Query, nodes.ErrUnknownNode)
}

var _ nodes.Resolver = SRV{}
