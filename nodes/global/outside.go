package global

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// send is the outbox's.
func (g *Global) send(ctx context.Context, l letter) error {
	box := g.box.Mailbox()
	switch {
	case l.Name:
		return box.SendName(ctx, l.Node, serverName, l.Payload)
	case l.Alias.Len > 0:
		return box.SendAlias(ctx, l.Alias, l.Payload)
	}
	return box.Send(ctx, l.Pid, l.Payload)
}

func (g *Global) hasMoved() bool {
	return errors.Is(g.n.Err(), nodes.ErrMoved) || errors.Is(g.box.Mailbox().Err(), nodes.ErrMoved)
}

// The outside of the server, which the server's goroutine calls.

func (g *Global) post(l letter)      { g.outbox.post(l) }
func (g *Global) lockerPid() ei.Pid  { return g.helper.Mailbox().Pid() }
func (g *Global) candidate(h him)    { g.locker.candidate(h) }
func (g *Global) demonitor(r ei.Ref) { g.box.Mailbox().Demonitor(context.Background(), r) }

func (g *Global) lockSet(node string, tag int64, set bool, from ei.Pid) {
	g.locker.heard(lockSet{node, tag, set, from})
}

func (g *Global) cancel(node string, tag int64) { g.locker.cancel(node, tag) }

func (g *Global) after(d time.Duration, f func()) {
	time.AfterFunc(d, func() {
		if g.Err() == nil {
			g.push(f)
		}
	})
}

func (g *Global) warn(text string, args ...any)  { g.log.Warn(text, args...) }
func (g *Global) debug(text string, args ...any) { g.log.Debug(text, args...) }

func (g *Global) monitor(pid ei.Pid) (ei.Ref, bool) {
	if string(pid.Node) == g.n.Name() {
		g.leaveInTime()
	}
	ref, err := g.box.Mailbox().Monitor(g.outbox.noWait, pid)
	return ref, err == nil
}

// joins tells whether this node connects to another one because others speak of it: Config.Rules
// let that one take part in global. Who may say any name could else have this node begin a
// handshake with a host of his, and relay that.
func (g *Global) joins(node string) bool {
	return g.n.AllowsProcess(node, nodes.MaySend, ei.Atom(serverName))
}

// watchLater connects to the node of a name's process, as OTP does, and monitors the process then.
func (g *Global) watchLater(of *name) {
	node := string(of.pid.Node)
	if g.unwatched[node] == nil && len(g.unwatched) >= maxKnown || g.n.Conn(node) == nil && !g.joins(node) {
		g.push(func() { g.server.unwatchable(of) })
		return
	}
	g.unwatched[node] = append(g.unwatched[node], of)
	if len(g.unwatched[node]) > 1 {
		return // a goroutine is connecting
	}
	go func() {
		g.slots <- struct{}{}
		defer func() { <-g.slots }()
		ctx, cancel := context.WithTimeout(context.Background(), answerTime)
		defer cancel()
		box := g.box.Mailbox()
		ref, err := box.Monitor(ctx, of.pid)
		g.push(func() {
			if err == nil {
				box.Demonitor(context.Background(), ref)
			}
			g.watchNow(node, err == nil)
		})
	}()
}

// watchNow monitors the processes of a node that is connected; of one that is not, it drops the
// names. The node is lost then: others have them. The monitors are made here, so that what they
// bring is heard of afterwards.
func (g *Global) watchNow(node string, connected bool) {
	names := g.unwatched[node]
	delete(g.unwatched, node)
	if !connected {
		g.server.missed(node)
	}
	for _, n := range names {
		switch {
		case !connected:
			g.server.unwatchable(n)
		case g.server.isUnwatched(n):
			ref, err := g.box.Mailbox().Monitor(g.outbox.noWait, n.pid)
			switch {
			case err == nil:
				g.server.watched(n, ref)
			case errors.Is(err, nodes.ErrNoConnection):
				g.server.unwatchable(n)
			default: // the connection is full
				g.watchLater(n)
			}
		}
	}
}

// join connects to a node that others know. It tries more than once: the node may be connecting to
// this one at the same time, and a loss that is reported parts others, too.
func (g *Global) join(node string) {
	go func() {
		g.slots <- struct{}{}
		defer func() { <-g.slots }()
		ctx, cancel := context.WithTimeout(context.Background(), answerTime)
		defer cancel()
		for tries := 0; ; tries++ {
			_, err := g.n.Connect(ctx, node)
			switch {
			case err == nil:
				g.push(func() { g.server.joined(node) })
				return
			case tries == 2 || ctx.Err() != nil || g.Err() != nil:
				g.log.Warn("global: cannot connect", "peer", node, "error", err)
				g.push(func() { g.server.unreachable(node) })
				return
			}
			select {
			case <-time.After(joinPause):
			case <-ctx.Done():
			case <-g.Done():
			}
		}
	}()
}

// confirm asks a node that this one has been told of, and is told of this one by somebody else,
// whether it was. A node of OTP takes part in nothing with one that it does not know, and says so
// to nobody. One that knows this one has said so by then, unless the two met otherwise.
func (g *Global) confirm(node string) {
	g.after(knowTime, func() {
		if g.server.Synced[node] {
			g.server.confirmed(node, true)
			return
		}
		g.box.Go(func() {
			known := g.callAll(g.box.Context(), []string{node}, ei.Atom("get_known"))[node]
			knows := known == nil || slices.Contains(textsOf(known), g.n.Name())
			g.push(func() { g.server.confirmed(node, knows) })
		})
	})
}

func (g *Global) disconnect(node string) {
	if by, ok := g.server.Up[node]; ok && by != g.box.Mailbox().Pid() {
		g.tellWorker(by, ei.Atom("disconnect"), ei.Atom(node))
		return
	}
	if c := g.n.Conn(node); c != nil {
		go c.Close()
	}
}

// down is the end of a process that this one monitors.
func (g *Global) down(ref ei.Ref) {
	if !g.workerDown(ref) {
		g.server.down(ref)
	}
}
