package global

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// An External is a global name that a process of a hidden node has, which takes no part in global
// itself.
type External struct {
	n      *nodes.Node
	name   ei.Term
	box    *nodes.Mailbox
	method Method
	hosts  []string
	watch  *nodes.Mailbox
	cancel context.CancelFunc
	over   chan struct{}
	drops  func() // takes back what has the node's Drain unregister it

	mu   sync.Mutex
	host string
}

// ErrNoHost: no host could register the name.
var ErrNoHost = errors.New("global: no host has registered the name")

// RegisterExternal gives a process of a hidden node a global name, by way of an Erlang node:
// global:register_name_external/3 on the first of the hosts that can be reached. If the connection
// to that host ends, the name is registered again at the next one, until Unregister, or until the
// process ends, or the node drains (nodes.Node.Drain). name and method are as for Global.Register;
// a method other than those of module global is a function of the hosts.
//
// The host links itself to the process. RegisterExternal takes the link back, but a process that is
// to survive the end of its host in all cases has MailboxOptions.TrapExit, and skips the message.
// ErrTaken if the name is another process's; ErrNoHost, with the reasons, if none of the hosts has
// registered it; else ctx's error.
func RegisterExternal(ctx context.Context, n *nodes.Node, name any, b *nodes.Mailbox, method Method, hosts ...string) (*External, error) {
	_, t, err := nameKey(name)
	if err != nil {
		return nil, wrap("register", t, err)
	}
	x := &External{n: n, name: t, box: b, method: method, hosts: slices.Clone(hosts), over: make(chan struct{})}
	if x.watch, err = n.NewMailbox(nil); err != nil {
		return nil, wrap("register", t, err)
	}
	if err := x.register(ctx); err != nil {
		_ = x.watch.Close()
		return nil, wrap("register", t, err)
	}
	var keep context.Context
	keep, x.cancel = context.WithCancel(context.Background())
	go x.keep(keep)
	x.drops = n.OnDrain(x.giveBack)
	return x, nil
}

// Host is the node at which the name is registered; "" while it is at none.
func (x *External) Host() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.host
}

func (x *External) setHost(host string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.host = host
}

// Unregister gives the name back, and ends the External, whatever its error:
// global:unregister_name_external/1. It waits for the host until ctx ends, and its error is that of
// the call (nodes.Node.RPC); a process that has ended has no name, which is no error.
func (x *External) Unregister(ctx context.Context) error {
	x.drops()
	return x.giveBack(ctx)
}

func (x *External) giveBack(ctx context.Context) error {
	x.cancel()
	<-x.over
	host := x.Host()
	if host == "" || x.box.Err() != nil {
		return nil
	}
	x.setHost("")
	_, err := x.n.RPC(ctx, host, "global", "unregister_name_external", x.name)
	return wrap("unregister", x.name, err)
}

// register tries the hosts in turn.
func (x *External) register(ctx context.Context) error {
	failed := []error{ErrNoHost}
	for _, host := range x.hosts {
		err := x.registerAt(ctx, host)
		if err == nil || errors.Is(err, ErrTaken) || ctx.Err() != nil {
			return err
		}
		failed = append(failed, fmt.Errorf("%s: %w", host, err))
	}
	return errors.Join(failed...)
}

func (x *External) registerAt(ctx context.Context, host string) error {
	// first, so that no end of the host is missed
	if err := x.watch.MonitorNode(ctx, host); err != nil {
		return err
	}
	done, err := x.n.RPC(ctx, host, "global", "register_name_external", x.name, x.box.Pid(), x.method.term())
	if err == nil && !isAtom(done, "yes") {
		// the name may still be ours, from the host before
		var has ei.Term
		has, err = x.n.RPC(ctx, host, "global", "whereis_name", x.name)
		if err == nil && has != ei.Term(x.box.Pid()) {
			err = ErrTaken
		}
	}
	if err != nil {
		x.watch.DemonitorNode(host)
		return err
	}
	if server, err := x.n.RPC(ctx, host, "erlang", "whereis", ei.Atom(serverName)); err == nil {
		if pid, ok := server.(ei.Pid); ok {
			_ = x.box.Unlink(ctx, pid)
		}
	}
	x.setHost(host)
	return nil
}

// keep registers the name again whenever its host has gone.
func (x *External) keep(ctx context.Context) {
	defer close(x.over)
	defer x.watch.Close()
	ended := make(chan struct{})
	defer func() { <-ended }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(ended)
		select {
		case <-x.box.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		m, err := x.watch.Receive(ctx)
		if err != nil {
			return
		}
		t, _ := m.Term()
		down, ok := t.(ei.Tuple)
		if m.Conn() != nil || !ok || len(down) != 2 || !isAtom(down[0], "nodedown") || !isAtom(down[1], x.Host()) {
			continue
		}
		x.setHost("")
		for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
			limit, stop := context.WithTimeout(ctx, answerTime)
			err := x.register(limit)
			stop()
			if err == nil {
				break
			}
			x.n.Logger().Warn("global: the name is not registered anywhere", "name", x.name, "error", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
		}
	}
}
