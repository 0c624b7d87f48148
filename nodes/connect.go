package nodes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	hosts "github.com/cnode-go/cnode/internal/host"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/peers"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/nodes/metrics"
	"github.com/cnode-go/cnode/transport"
)

// Connect finds the node called name through the Resolver, connects and does the handshake, within
// Config.HandshakeTimeout. If there is a connection to the node, Connect returns that. The node's
// own name is dist.ErrSelf. When the peer connects at the same time, one of the two attempts wins,
// and Connect returns that connection; on a node that was not started the peer's wins only if
// Accept is called before or meanwhile, and otherwise Connect waits until the peer gives it up. If
// ctx ends when the peer has just accepted, the peer sees this node come up and go down; a
// connection on demand (Mailbox.Send and the like) is made to its end all the same. A peer that has
// a connection from another program of this name, an earlier process say, gives it up for the new
// one: programs that run at the same time need different names. It is ei_connect, which fails in
// that case.
//
// Other errors are those of the Resolver, the transport and the handshake (package dist),
// ErrHandshakeTimeout, and ctx's, with the step at which it stood: finding the address, connecting
// to it, a phase of the handshake, or waiting for another attempt. They are not ErrNoConnection,
// which is for methods that connect on demand.
func (n *Node) Connect(ctx context.Context, name string) (*Conn, error) {
	c, err := n.dial(ctx, name, nil, false)
	return c, wrap("connect", name, err)
}

// ConnectAddr is Connect without a Resolver: to the node that listens at addr, over
// Config.Transport. name is the node that must answer there; an empty name accepts any node, and if
// that node already has a connection to this one the error is dist.ErrAlive, unless this node has
// no connections at all, so that the peer's must be dead. It is ei_xconnect and
// ei_xconnect_host_port.
func (n *Node) ConnectAddr(ctx context.Context, addr transport.Addr, name string) (*Conn, error) {
	at := Endpoint{Addr: addr}
	if name == "" {
		c, err := n.handshakes.connectAnyone(ctx, at)
		return c, wrap("connect", addrText(addr), err)
	}
	c, err := n.dial(ctx, name, &at, false)
	return c, wrap("connect", name, err)
}

// ConnectHostPort is ConnectAddr to a port of a machine, over TCP: its name is looked up, IPv4
// before IPv6, for as long as ctx allows. A host without an address is ErrUnknownHost. It is
// ei_connect_host_port.
func (n *Node) ConnectHostPort(ctx context.Context, host string, port uint16, name string) (*Conn, error) {
	ip, err := hosts.Lookup(ctx, host)
	if err != nil {
		return nil, wrap("connect", net.JoinHostPort(host, strconv.Itoa(int(port))), fmt.Errorf("%s: %w", stepFind, err))
	}
	return n.ConnectAddr(ctx, transport.FromAddrPort(netip.AddrPortFrom(ip, port)), name)
}

// NoConnect derives a context under which nothing brings a connection up: sends, links, monitors
// and calls to a node that is not connected fail with ErrNoConnection. In a node with workers that
// is so, too, while only another worker is connected to that node, unless this one has sent there
// before. It is the option noconnect of erlang:send/3.
func NoConnect(ctx context.Context) context.Context {
	return context.WithValue(ctx, noConnectKey{}, true)
}

type noConnectKey struct{}

// connection is the connection to a node, made now if need be.
func (n *Node) connection(ctx context.Context, node string) (*Conn, error) {
	if c := n.Conn(node); c != nil {
		return c, nil
	}
	if err := dist.CheckName(node); err != nil { // no node can have that name: nothing is tried
		return nil, err
	}
	if ctx.Value(noConnectKey{}) != nil {
		return nil, ErrNoConnection
	}
	c, err := n.dial(ctx, node, nil, true)
	if err == ErrMoved { // the connection, or the node: there is one, but not here
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoConnection, err)
	}
	return c, nil
}

// connectAnyone connects to whichever node answers. Its name is put on the table of peers as soon
// as it is known.
func (h *handshakes) connectAnyone(ctx context.Context, at Endpoint) (_ *Conn, err error) {
	if err := cmp.Or(h.n.Err(), wait.TakesTime(ctx)); err != nil { // see dial
		return nil, err
	}
	defer wait.EndedBy(ctx, &err)
	ctx, cancel := h.handshakeTime(ctx)
	defer cancel()
	ctx, a := newAttempt(ctx)
	defer a.Cancel(nil)
	c, err := h.open(ctx, &initiative{attempt: a, at: at, met: func(peer string) error {
		if err := h.claim(ctx, a, peer); err != nil {
			return err
		}
		return h.n.peers.Meet(peer, &a.Attempt)
	}})
	h.n.peers.Drop(&a.Attempt)
	if err != nil {
		a.claim.Over(false)
		if ctx.Err() != nil {
			err = wait.Because(ctx, err)
		}
		return nil, err
	}
	return c, nil
}

// nokPause is how long dial waits for an attempt of the peer's before it makes our own: the attempt
// may be that of a stranger who uses the peer's name.
const nokPause = 200 * time.Millisecond

// A dialing is one call of dial.
type dialing struct {
	n        *Node
	name     string
	at       *Endpoint // nil: where the Resolver finds the node
	onDemand bool
	caller   context.Context // without the bounds of the node's own
	err      error           // why our last attempt has failed
	theirs   bool            // the peer has told us of an attempt of its own
	awaited  time.Time       // until when we wait for that; zero: not yet
	known    peers.Known     // at the last look
}

// dial gets a connection to name: the one that is up, one that others are about to make, or a new
// one. On demand, an attempt that has begun goes on when ctx ends: others may need
// the connection too, and the peer, once it has accepted, would see this node come up and go down.
func (n *Node) dial(ctx context.Context, name string, at *Endpoint, onDemand bool) (c *Conn, err error) {
	if err := dist.CheckName(name); err != nil {
		return nil, err
	}
	defer wait.EndedBy(ctx, &err)
	d := &dialing{n: n, name: name, at: at, onDemand: onDemand, caller: ctx}
	ctx, cancel := n.handshakes.handshakeTime(ctx)
	defer cancel()
	defer n.peers.Forget(name)
	for {
		if c, err = d.existing(); c != nil || err != nil {
			return c, err
		}
		turn, pause := d.isOurTurn(ctx)
		if turn {
			if c, over, err := d.begin(ctx); over {
				return c, err
			}
		} else if err := d.waitFor(ctx, pause); err != nil {
			return nil, err
		}
	}
}

// existing looks at the table of peers for a connection that is up.
func (d *dialing) existing() (*Conn, error) {
	n := d.n
	switch {
	// do not even tell the peer our name: it may be connected to the process that goes on as this node
	case n.ctx.Err() != nil:
		return nil, n.Err()
	case n.drain.parting.Load():
		return nil, ErrClosed
	case d.name == n.Name():
		return nil, dist.ErrSelf
	}
	d.known = n.peers.Look(d.name)
	switch c := fromTable(d.known.Conn); {
	case c != nil && c.Err() == nil:
		return c, nil
	case c == nil && d.onDemand && d.known.Away:
		return nil, ErrMoved
	}
	return nil, nil
}

// isOurTurn tells whether an attempt of our own is to be made. pause has a value when an attempt of
// the peer's has had its time; nil: there is none.
func (d *dialing) isOurTurn(ctx context.Context) (turn bool, pause <-chan time.Time) {
	switch k := &d.known; {
	case k.Conn != nil || k.Ours != peers.None || k.Comes:
		return false, nil
	case (d.theirs || k.Theirs) && (d.awaited.IsZero() || time.Now().Before(d.awaited)):
		if d.awaited.IsZero() {
			d.awaited = time.Now().Add(nokPause)
		}
		return false, time.After(time.Until(d.awaited))
	}
	// else there is no time to wait, let alone for an attempt
	return !transport.IsNoWait(ctx) && ctx.Err() == nil, nil
}

// begin makes an attempt of our own. It is not over if there is something else to wait for by now,
// or when the peer has an attempt, too, which goes on: should that fail, ours is made again.
func (d *dialing) begin(ctx context.Context) (c *Conn, over bool, err error) {
	n, within := d.n, ctx
	beyond := d.onDemand && d.caller.Done() != nil // it goes on when the dialing ends
	if beyond {
		within = context.WithoutCancel(d.caller)
	}
	within, a := newAttempt(within)
	a.Peer = d.name
	if !n.peers.Begin(&a.Attempt, d.theirs || d.known.Theirs) {
		a.Cancel(nil)
		return nil, false, nil
	}
	if beyond {
		c, err = d.attemptBeyond(ctx, within, a)
	} else {
		c, err = n.handshakes.attempt(within, a, d.at)
	}
	d.err, d.theirs, d.awaited = err, errors.Is(err, dist.ErrNok), time.Time{}
	return c, err == nil || !d.theirs && !errors.Is(err, ErrSuperseded) && !errors.Is(err, ErrConnected), err
}

// waitFor waits until the table has changed, or the connection that ends has left it, or an attempt
// of the peer's has had its time.
func (d *dialing) waitFor(ctx context.Context, pause <-chan time.Time) error {
	change := d.known.Change
	if d.known.Conn != nil {
		change = d.known.Conn.Left()
	}
	select {
	case <-change:
	case <-pause:
	case <-wait.Cancelled(ctx):
		if ctx.Err() == nil {
			return wait.Err(ctx)
		}
		return d.late(ctx, stepAwait)
	}
	return nil
}

// late is the error of a dialing that has run out of time at a step. What an attempt before has
// failed over says more than that step.
func (d *dialing) late(ctx context.Context, step string) error {
	if d.err == nil && d.n.ctx.Err() == nil {
		return wait.Because(ctx, errors.New(step))
	}
	return wait.Because(ctx, d.err)
}

// The steps of connecting, as errors name them. Those of the handshake are package dist's.
const (
	stepAwait     = "another attempt to connect has not ended"
	stepFind      = "finding its address"
	stepConnect   = "connecting to its address"
	stepHandshake = "the handshake"
)

// attempt connects from our side, by an attempt that is on the table of peers already; ctx is the
// attempt's. When the peer's own attempt has won the error is ErrSuperseded, ErrConnected or
// dist.ErrNok.
func (h *handshakes) attempt(ctx context.Context, a *attempt, at *Endpoint) (c *Conn, err error) {
	defer a.Cancel(nil)
	defer h.n.peers.Drop(&a.Attempt)
	err = h.claim(ctx, a, a.Peer)
	i := &initiative{attempt: a, want: a.Peer}
	switch {
	case err != nil:
	case at == nil:
		a.step.Store(stepFind)
		if i.at, err = h.n.cfg.Resolver.Resolve(ctx, a.Peer); err != nil && h.n.ctx.Err() == nil {
			err = fmt.Errorf("%s: %w", stepFind, err)
		}
	default:
		i.at = *at
	}
	if err == nil {
		c, err = h.open(ctx, i)
	}
	if err == nil {
		return c, nil
	}
	a.claim.Over(false)
	switch superseded := context.Cause(ctx) == ErrSuperseded; {
	case ctx.Err() != nil && !superseded:
		err = wait.Because(ctx, err)
	case superseded || h.n.peers.GaveWay(&a.Attempt):
		return nil, ErrSuperseded
	}
	h.n.meters.tellHandshakeFailed(a.Peer, true, err)
	return nil, err
}

// attemptBeyond is attempt with a context of its own, actx, for a caller who waits until ctx ends.
func (d *dialing) attemptBeyond(ctx, actx context.Context, a *attempt) (*Conn, error) {
	n := d.n
	type outcome struct {
		c   *Conn
		err error
	}
	made := make(chan outcome, 1)
	begun := n.background(func() {
		actx, cancel := n.handshakes.handshakeTime(actx)
		defer cancel()
		c, err := n.handshakes.attempt(actx, a, nil)
		made <- outcome{c, err}
	})
	if !begun {
		a.Cancel(nil)
		n.peers.Drop(&a.Attempt)
		return nil, n.Err()
	}
	select {
	case o := <-made:
		return o.c, o.err
	case <-ctx.Done():
		step, _ := a.step.Load().(string)
		return nil, d.late(ctx, cmp.Or(step, stepAwait)+" takes too long")
	}
}

// handshakeTime bounds ctx by Config.HandshakeTimeout and the life of the node.
func (h *handshakes) handshakeTime(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := h.n.lifetime(ctx)
	ctx, cancel := context.WithTimeoutCause(ctx, h.n.cfg.HandshakeTimeout, ErrHandshakeTimeout)
	return ctx, func() { cancel(); stop() }
}

// lifetime bounds ctx by the life of the node.
func (n *Node) lifetime(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(n.ctx, func() { cancel(n.Err()) })
	return ctx, func() { stop(); cancel(nil) }
}

// An initiative is an attempt of our own.
type initiative struct {
	*attempt
	want string // the node that must answer; "": whichever does
	at   Endpoint
	met  func(peer string) error // may refuse the peer once its name is known; nil: none is refused
}

// open connects to an endpoint and does the handshake.
func (h *handshakes) open(ctx context.Context, i *initiative) (*Conn, error) {
	i.at.Transport = cmp.Or(i.at.Transport, h.n.cfg.Transport)
	c, err := h.initiator(ctx, i)
	if errors.Is(err, errNamed) { // the node has got its name: connect once more, under this name
		return h.open(ctx, i)
	}
	return c, err
}

// initiator connects and does the handshake.
func (h *handshakes) initiator(ctx context.Context, i *initiative) (*Conn, error) {
	addr := i.at.Addr
	if i.want != "" {
		addr = transport.WithPeerName(addr, i.want)
	}
	i.step.Store(stepConnect)
	s, err := i.at.Transport.Connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	i.step.Store(stepHandshake)
	p, err := h.initiate(ctx, s, i)
	if err == nil {
		err = h.n.takeName(p)
	}
	var c *Conn
	if err == nil {
		c, err = h.establish(ctx, i.at.Transport, s, p, true, i.attempt)
	}
	if err != nil {
		return nil, errors.Join(err, quietly(s.Close()))
	}
	return c, nil
}

// establish makes a connection of what the two nodes have agreed on, and puts it on the table. It
// is the end of every handshake, whichever side has begun it. The stream stays the caller's on
// failure.
func (h *handshakes) establish(ctx context.Context, tr transport.Transport, s *transport.Stream, p dist.Peer, initiated bool,
	a *attempt) (*Conn, error) {
	if err := s.HandshakeComplete(ctx, initiated); err != nil {
		return nil, err
	}
	c := newConn(h.n, tr, s, p, link.Options{Record: metrics.Conn{Initiated: initiated}})
	c.ties.Claim = a.claim
	c.from.Store(a.from)
	// the peer has given up its own connection to us
	if initiated && p.Status == protocol.StatusOKSimultaneous {
		a.Replaces = h.n.peers.Conn(p.Name)
	}
	// the peer's connection of this name, and it was told when this node's had ended
	shares := initiated && p.Status == protocol.StatusAlive && h.n.peers.Absent(p.Name) == peers.Closed
	if err := h.n.enter(ctx, c, a.Order, a.Replaces); err != nil {
		return nil, err
	}
	if shares {
		h.n.sharesName(p.SelfName, p.Name)
	}
	c.begin()
	return c, nil
}

// quietly drops an error that comes while another one is returned, unless people must know of it: a
// fault of the plug-in.
func quietly(err error) error {
	if fault := new(*transport.CallbackError); errors.As(err, fault) {
		return err
	}
	return nil
}
