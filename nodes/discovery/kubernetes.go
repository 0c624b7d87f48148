package discovery

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/cnode-go/cnode/nodes"
)

// PodNames are how pods, and the nodes in them, are named.
type PodNames int

const (
	// ByIP: myapp@10.1.0.95, from the addresses of the service. Opposite it is libcluster's
	//
	//	strategy: Cluster.Strategy.Kubernetes.DNS,
	//	config: [service: "myapp-headless", application_name: "myapp"]
	//
	// where nodes are started as myapp@${POD_IP} (fieldRef status.podIP).
	ByIP PodNames = iota
	// ByHostname: myapp@myapp-0.myapp-headless.default.svc.cluster.local, the names of a
	// StatefulSet's pods, from the SRV records of the service. Opposite it is libcluster's
	//
	//	strategy: Cluster.Strategy.Kubernetes.DNSSRV,
	//	config: [service: "myapp-headless", application_name: "myapp", namespace: "default"]
	//
	// (and Cluster.Strategy.Kubernetes with mode: :hostname), where nodes are started as
	// myapp@$(hostname -f).
	ByHostname
	// ByPod: myapp@10-1-0-95.default.pod.cluster.local, the DNS names that pods have for their
	// addresses, from the addresses of the service. Opposite it is libcluster's
	//
	//	strategy: Cluster.Strategy.Kubernetes,
	//	config: [mode: :dns, kubernetes_namespace: "default", …]
	//
	// which asks the API of Kubernetes; this asks DNS, and needs no rights.
	ByPod
)

// Kubernetes is a Source that names a node in each pod of a headless service (clusterIP: None), as
// the DNS of Kubernetes has them: pods that are ready or, with publishNotReadyAddresses, all.
// Look-ups that fail change nothing: without a ready pod a service has no records.
type Kubernetes struct {
	Service  string // the headless service
	Basename string // what is before the "@" of all names
	Names    PodNames
	// Namespace of the service. "": for ByIP, the one that the search list of the pod's resolv.conf
	// gives; else that of this pod's service account.
	Namespace string
	// Domain is the cluster's; "": the environment variable CLUSTER_DOMAIN, or cluster.local.
	Domain   string
	Interval time.Duration // between look-ups; 0: as often as libcluster
	Resolver *net.Resolver // nil: net.DefaultResolver
}

// accountNamespace has the namespace of a pod.
const accountNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// Nodes looks the service up, at intervals. The error is a *nodes.Error with that of the Resolver,
// a *net.DNSError say, or why the namespace is unknown.
func (k Kubernetes) Nodes(ctx context.Context, _ *nodes.Node) iter.Seq2[[]string, error] {
	return poll(ctx, k.Interval, func(ctx context.Context) ([]string, error) {
		names, err := k.look(ctx)
		return names, wrap("look up the pods of", k.Service, err)
	})
}

func (k Kubernetes) look(ctx context.Context) ([]string, error) {
	namespace, err := k.namespace()
	if err != nil {
		return nil, err
	}
	domain := strings.TrimSuffix(cmp.Or(k.Domain, os.Getenv("CLUSTER_DOMAIN"), "cluster.local"), ".")
	query := k.Service
	if namespace != "" {
		query = k.Service + "." + namespace + ".svc." + domain + "." // final: not to be searched for
	}
	if k.Names == ByHostname {
		records, err := SRV{Query: query, Resolver: k.Resolver}.records(ctx)
		return namesOf(k.Basename, records, target), err
	}
	addrs, err := addresses(ctx, k.Resolver, query)
	return namesOf(k.Basename, addrs, func(a netip.Addr) string {
		if k.Names == ByIP {
			return a.String()
		}
		return dashes.Replace(a.String()) + "." + namespace + ".pod." + domain
	}), err
}

// dashes make an address the first part of a pod's DNS name.
var dashes = strings.NewReplacer(".", "-", ":", "-")

func (k Kubernetes) namespace() (string, error) {
	if k.Namespace != "" || k.Names == ByIP {
		return k.Namespace, nil
	}
	text, err := os.ReadFile(accountNamespace)
	if err != nil {
		return "", fmt.Errorf("no Namespace is set, and this pod's is unknown: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}
