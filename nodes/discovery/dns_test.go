package discovery

import (
	"context"
	"iter"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/cnode-go/cnode/internal/test/dns"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/epmd"
)

// node is a node that is not started: it is asked for its name.
func node(t *testing.T, name string) *nodes.Node {
	n, err := nodes.New(nodes.Config{Name: name, Cookie: "secret"})
	require.NoError(t, err)
	t.Cleanup(func() { n.Close() })
	return n
}

// asked begins to ask a Source; next gives what it yields next.
func asked(t *testing.T, s Source, n *nodes.Node) (next func() ([]string, error)) {
	more, stop := iter.Pull2(s.Nodes(expect.Context(t), n))
	t.Cleanup(stop)
	return func() ([]string, error) {
		names, err, ok := more()
		require.True(t, ok)
		return names, err
	}
}

func TestDNSNames(t *testing.T) {
	z := dns.New(t)
	r := z.Resolver()
	pods := []dnsmessage.ResourceBody{dns.Addr("10.1.0.95"), dns.Addr("10.1.0.96"), dns.Addr("fd00::7"), dns.Addr("::ffff:10.1.0.97")}
	sets := []dnsmessage.ResourceBody{
		dns.SRV("myapp-0.myapp-headless.default.svc.cluster.local.", 4000),
		dns.SRV("myapp-1.myapp-headless.default.svc.cluster.local.", 4000),
	}
	z.Set(dns.Records{
		"my-app.example.com.":                       pods,
		"myapp-headless.default.svc.cluster.local.": append(sets, pods...),
		"myapp-headless.prod.svc.k8s.example.":      {dns.Addr("10.2.0.1")},
		"_cnode._tcp.example.com.":                  {dns.SRV("A.example.com.", 4001), dns.SRV("b.example.com.", 4002)},
	})
	byIP := []string{"myapp@10.1.0.95", "myapp@10.1.0.96", "myapp@10.1.0.97", "myapp@fd00::7"}
	for name, c := range map[string]struct {
		source Source
		want   []string
	}{
		"DNS":               {DNS{Query: "my-app.example.com", Basename: "myapp", Resolver: r}, byIP},
		"DNS of an address": {DNS{Query: "10.0.0.1", Basename: "myapp", Resolver: r}, []string{"myapp@10.0.0.1"}},
		"SRV": {
			SRV{Query: "_cnode._tcp.example.com", Basename: "x", Resolver: r}, []string{"x@A.example.com", "x@b.example.com"},
		},
		"Kubernetes": {Kubernetes{Service: "myapp-headless", Namespace: "default", Basename: "myapp", Resolver: r}, byIP},
		"Kubernetes, the service as it is": {
			Kubernetes{Service: "myapp-headless.default.svc.cluster.local", Basename: "myapp", Resolver: r}, byIP,
		},
		"Kubernetes, another domain": {
			Kubernetes{Service: "myapp-headless", Namespace: "prod", Domain: "k8s.example.", Basename: "myapp", Resolver: r},
			[]string{"myapp@10.2.0.1"},
		},
		"Kubernetes by host name": {
			Kubernetes{Service: "myapp-headless", Namespace: "default", Basename: "node", Names: ByHostname, Resolver: r},
			[]string{"node@myapp-0.myapp-headless.default.svc.cluster.local",
				"node@myapp-1.myapp-headless.default.svc.cluster.local"},
		},
		"Kubernetes by pod": {
			Kubernetes{Service: "myapp-headless", Namespace: "default", Basename: "myapp", Names: ByPod, Resolver: r},
			[]string{
				"myapp@10-1-0-95.default.pod.cluster.local", "myapp@10-1-0-96.default.pod.cluster.local",
				"myapp@10-1-0-97.default.pod.cluster.local", "myapp@fd00--7.default.pod.cluster.local",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			names, err := asked(t, c.source, nil)()
			require.NoError(t, err)
			require.ElementsMatch(t, c.want, names)
			for _, n := range names {
				require.NoError(t, dist.CheckName(n))
			}
		})
	}
	t.Setenv("CLUSTER_DOMAIN", "k8s.example")
	byPod := Kubernetes{Service: "myapp-headless", Namespace: "prod", Basename: "myapp", Names: ByPod, Resolver: r}
	names, err := asked(t, byPod, nil)()
	require.NoError(t, err)
	require.Equal(t, []string{"myapp@10-2-0-1.prod.pod.k8s.example"}, names)
}

// What changes is yielded at intervals; a failure is an error, and what comes after it counts
// again.
func TestDNSPolls(t *testing.T) {
	z := dns.New(t)
	r := z.Resolver()
	next := asked(t, DNS{Query: "my-app.example.com", Basename: "a", Interval: time.Millisecond, Resolver: r}, nil)
	_, err := next()
	var failed *nodes.Error
	require.ErrorAs(t, err, &failed)
	require.Equal(t, "my-app.example.com", failed.Peer)
	var unknown *net.DNSError
	require.ErrorAs(t, err, &unknown)
	require.True(t, unknown.IsNotFound)
	for _, want := range [][]string{{"a@10.0.0.1"}, {"a@10.0.0.1", "a@10.0.0.2"}} {
		of := []dnsmessage.ResourceBody{dns.Addr("10.0.0.1"), dns.Addr("10.0.0.2")}[:len(want)]
		z.Set(dns.Records{"my-app.example.com.": of})
		names, err := next()
		require.NoError(t, err)
		require.ElementsMatch(t, want, names)
	}
	z.Fail()
	names, err := next()
	require.ErrorAs(t, err, &unknown)
	require.False(t, unknown.IsNotFound)
	require.Empty(t, names)
}

func TestDNSEndsWithContext(t *testing.T) {
	r := dns.New(t).Resolver()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range (DNS{Query: "my-app.example.com", Basename: "a", Interval: time.Hour, Resolver: r}).Nodes(ctx, nil) {
		cancel()
	}
}

func TestKubernetesWithoutNamespace(t *testing.T) {
	_, err := asked(t, Kubernetes{Service: "x", Basename: "a", Names: ByPod}, nil)()
	require.ErrorContains(t, err, "x: no Namespace is set")
}

func TestSRVResolves(t *testing.T) {
	z := dns.New(t)
	r := z.Resolver()
	s := SRV{Query: "_cnode._tcp.example.com", Basename: "x", Resolver: r}
	_, err := s.Resolve(t.Context(), "x@a.example.com")
	require.ErrorAs(t, err, new(*net.DNSError))
	z.Set(dns.Records{
		"_cnode._tcp.example.com.": {dns.SRV("a.example.com.", 4001), dns.SRV("b.example.com.", 4002),
			dns.SRV("gone.example.com.", 4003)},
		"a.example.com.": {dns.Addr("fd00::1"), dns.Addr("10.0.0.1")},
		"b.example.com.": {dns.Addr("fd00::2")},
	})
	for node, want := range map[string]string{"x@a.example.com": "10.0.0.1:4001", "x@B.example.com": "[fd00::2]:4002"} {
		at, err := s.Resolve(t.Context(), node)
		require.NoError(t, err)
		require.Equal(t, want, at.Addr.String())
	}
	for node, want := range map[string]error{
		"y@a.example.com": nodes.ErrUnknownNode, "x@c.example.com": nodes.ErrUnknownNode,
		"x@gone.example.com": nodes.ErrUnknownHost, "x": dist.ErrInvalidName,
	} {
		_, err = s.Resolve(t.Context(), node)
		require.ErrorIs(t, err, want, node)
	}
}

func TestPortMapperLists(t *testing.T) {
	ls, err := epmd.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	server := &epmd.Server{}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(ls[0]) }()
	client := epmd.Client{Addr: ls[0].Addr().String()}
	keep := func(name string) *epmd.Keeper {
		k, err := client.Keep(t.Context(), epmd.Registration{Name: name, Port: 4000, Type: epmd.TypeNormal}, nil)
		require.NoError(t, err)
		return k
	}
	a := keep("a")
	next := asked(t, EPMD{Client: client, Interval: time.Millisecond}, node(t, "me@127.0.0.1"))
	names, err := next()
	require.NoError(t, err)
	require.Equal(t, []string{"a@127.0.0.1"}, names)

	// of two hosts one does not answer
	hosts := []string{"127.0.0.1", "127.0.0.2", "127.0.0.1"}
	two := asked(t, EPMD{Hosts: hosts, Client: client, Interval: time.Millisecond}, nil)
	names, err = two()
	require.NoError(t, err)
	require.Equal(t, []string{"a@127.0.0.1"}, names)
	for range 3 { // nothing new
		_, err = two()
		require.ErrorIs(t, err, epmd.ErrNoPortMapper)
		require.ErrorContains(t, err, "127.0.0.2")
	}

	require.NoError(t, a.Close())
	for len(names) > 0 {
		names, err = next()
		require.NoError(t, err)
	}
	a = keep("a")
	for len(names) == 0 {
		names, err = next()
		require.NoError(t, err)
	}
	require.NoError(t, a.Close())
	require.NoError(t, server.Close())
	<-served
	names, err = next()
	if err == nil {
		require.Equal(t, []string{"a@127.0.0.1"}, names, "the names of before stay")
		_, err = next()
	}
	require.ErrorIs(t, err, epmd.ErrNoPortMapper)

	dynamic, err := nodes.New(nodes.Config{Host: "127.0.0.1", Cookie: "secret"})
	require.NoError(t, err)
	defer dynamic.Close()
	next = asked(t, EPMD{Client: client}, dynamic)
	_, err = next()
	require.ErrorIs(t, err, nodes.ErrUnnamed)
}
