package workers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// A question is one that the front has not answered yet.
type question struct {
	talk.Question
	answer chan reply // nil: the caller has given up, and what the answer grants is given back
}

// A reply is the front's answer; claim is set if it grants the right to connect.
type reply struct {
	talk.Answer
	frontClaim *frontClaim
}

// ask asks the front and waits for the answer, for answerLimit at most. A reader, which cannot skip
// a message, passes its connection: then ask waits as long as that is up.
func (p *part) ask(ctx context.Context, q talk.Question, reader *nodes.Conn) (reply, error) {
	answer := make(chan reply, 1)
	p.mu.Lock()
	p.last++
	id := p.last
	*q.Number() = id
	p.asked[id] = &question{q, answer}
	said := p.line.Say(q)
	p.mu.Unlock()
	if !said {
		return reply{}, p.n.Gone()
	}
	var late <-chan time.Time
	var ended <-chan struct{}
	if reader != nil {
		ended = reader.Done()
	} else {
		t := time.NewTimer(p.answerLimit)
		defer t.Stop()
		late = t.C
	}
	var err error
	select {
	case a := <-answer:
		return a, nil
	case <-wait.Cancelled(ctx):
		err = wait.Err(ctx)
	case <-ended:
		err = reader.Err()
	case <-p.line.Over():
		return reply{}, p.n.Gone()
	case <-late:
		err = fmt.Errorf("the front does not answer: %w", context.DeadlineExceeded)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if q := p.asked[id]; q != nil {
		q.answer = nil
		return reply{}, err
	}
	return <-answer, nil // it has come just now
}

// answered gives an answer to the caller of ask.
func (p *part) answered(a *talk.Answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.asked[a.ID]
	if q == nil {
		return
	}
	delete(p.asked, a.ID)
	r := reply{Answer: *a}
	switch asked := q.Question.(type) {
	case *talk.Claim:
		switch {
		case a.Part != p.id:
		case q.answer == nil:
			p.line.Say(&talk.Over{Peer: asked.Peer})
		default:
			r.frontClaim = p.frontClaimLocked(asked.Peer)
		}
	case *talk.Register:
		switch {
		case !a.OK:
		case q.answer == nil:
			p.line.Say(&talk.Release{Name: asked.Name})
		default:
			p.claimed[ei.Atom(asked.Name)] = true
		}
	}
	if q.answer != nil {
		q.answer <- r
	}
}

// Names in a node with workers. Those of Setup are fixed: each worker has its own. All others are
// unique in the node, and the front has the list of them.

// maxFound bounds the names whose worker is remembered.
const maxFound = 1024

// A finding is what the front has said of a name: it holds as long as the name's place in the name
// table has the same version.
type finding struct {
	at      int // the worker
	version uint32
}

// where finds the worker that has a name; 0 if none has, which the name table tells. An answer of
// the front is remembered. reader is as for ask.
func (p *part) where(ctx context.Context, name ei.Atom, reader *nodes.Conn) (int, error) {
	p.mu.Lock()
	f := p.found[name]
	p.mu.Unlock()
	if p.has(f.at) {
		if v, ok := p.nameTable.Version(string(name)); ok && v == f.version {
			return f.at, nil
		}
	}
	if p.nameTable.Lacks(string(name)) {
		return 0, nil
	}
	v, ok := p.nameTable.Version(string(name)) // before the question: a change meanwhile shows
	a, err := p.ask(ctx, &talk.Lookup{Name: string(name)}, reader)
	if err != nil || !a.OK {
		return 0, err
	}
	if a.Part != p.id && ok {
		p.mu.Lock()
		if len(p.found) >= maxFound {
			clear(p.found) // names come and go
		}
		p.found[name] = finding{a.Part, v}
		p.mu.Unlock()
	}
	return a.Part, nil
}

func (p *part) isFixed(name ei.Atom) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fixed[name]
}

// endSetup marks the end of Setup: names that are registered from now on are unique in the node.
func (p *part) endSetup() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setUp = true
}

// ClaimName asks the front to enter a name that is about to be registered here, unless it is of
// Setup: those are each worker's own. release takes the entry back.
func (p *part) ClaimName(ctx context.Context, name ei.Atom, number uint64) (release func(), err error) {
	p.mu.Lock()
	own := !p.setUp || p.fixed[name]
	if own {
		p.fixed[name] = true
	}
	p.mu.Unlock()
	if own {
		return func() {}, nil
	}
	a, err := p.ask(ctx, &talk.Register{Name: string(name), Key: number}, nil)
	switch {
	case err != nil:
		return nil, err
	case !a.OK:
		return nil, nodes.ErrNameTaken
	}
	return func() { p.ReleaseName(name) }, nil
}

// ReleaseName tells the front that no process here has the name any more; false if that does not
// concern the front.
func (p *part) ReleaseName(name ei.Atom) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fixed[name] {
		return false
	}
	delete(p.claimed, name)
	p.line.Say(&talk.Release{Name: string(name)})
	return true
}

// struckLimit bounds how long the end of a process waits for the front.
const struckLimit = 250 * time.Millisecond

// Struck waits until the front has dealt with the release of a name, so that a process which is
// told of the end of the one that had the name finds it free, in whichever worker. A lookup shows
// that, since the front answers in order.
func (p *part) Struck(name ei.Atom) {
	ctx, cancel := context.WithTimeout(p.n.Ctx, struckLimit)
	defer cancel()
	// without an answer the end is told all the same
	_, _ = p.ask(ctx, &talk.Lookup{Name: string(name)}, nil)
}

// Lookup asks the front for a process by its name.
func (p *part) Lookup(ctx context.Context, name ei.Atom) (ei.Pid, error) {
	if p.isFixed(name) {
		return ei.Pid{}, nodes.ErrNoProc
	}
	a, err := p.ask(ctx, &talk.Lookup{Name: string(name)}, nil)
	if err == nil && !a.OK {
		err = nodes.ErrNoProc
	}
	if err != nil {
		return ei.Pid{}, err
	}
	return ei.Pid{
		Node: ei.Atom(p.n.Name()), ID: uint32(a.Number), Serial: uint32(a.Number >> 32), Creation: p.n.Creation(),
	}, nil
}

// A frontClaim is this worker's share in a peer, as the front counts it: from the session that the
// front has pushed, or the claim that it has granted, to the end of the handshake or of the
// connection.
type frontClaim struct {
	p    *part
	name string // of the peer; "" while it has none
}

// newFrontClaim is the claim of a session, or of a connection that comes from another process: the
// front has counted it already.
func (p *part) newFrontClaim(peer string) *frontClaim {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.frontClaimLocked(peer)
}

func (p *part) frontClaimLocked(peer string) *frontClaim {
	s := &frontClaim{p, peer}
	p.frontClaims[s] = true
	return s
}

// up says that the connection is up; from now on the claim is the connection's.
func (s *frontClaim) Up(peer string) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.line.Say(&talk.Up{Key: s.name, Peer: peer})
	s.name = peer
}

// take is newFrontClaim for a connection.
func (p *part) Take(peer string) inside.Claim { return p.newFrontClaim(peer) }

// over says that the session, attempt or connection has ended. The front keeps its own descriptor
// of the socket until it hears that the worker has taken it, and until then the peer does not see
// that the worker has closed its descriptor. So an end that is ours is said to the front at once,
// any other one together with what is said next.
func (s *frontClaim) Over(ours bool) {
	s.end(&talk.Over{Peer: s.name, Now: ours})
}

// State is the peer's name.
func (s *frontClaim) State() (peer string, ok bool) { return s.name, true }

// untaken says that the session could not be taken.
func (s *frontClaim) untaken() { s.end(&talk.Over{Peer: s.name, Untaken: true, Now: true}) }

func (s *frontClaim) end(m *talk.Over) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	delete(s.p.frontClaims, s)
	s.p.line.Say(m)
}

// errNoneThere: the worker that was to give this one a way to a peer has no connection to the peer.
var errNoneThere = errors.New("another worker has no connection any more")

// claim asks for the right to connect to a peer. The error is nodes.ErrConnected when another
// worker of the node has the connection, and this one now has a way to it; nodes.ErrSuperseded when
// things have changed meanwhile, and the caller is to look again.
func (p *part) Claim(ctx context.Context, peer string) (inside.Claim, error) {
	heard := make(chan error, 1)
	p.mu.Lock()
	p.awaited[peer] = append(p.awaited[peer], heard)
	p.mu.Unlock()
	defer p.forgo(peer, heard)
	a, err := p.ask(ctx, &talk.Claim{Peer: peer}, nil)
	if err != nil {
		return nil, err
	}
	if a.Part == p.id {
		return a.frontClaim, nil
	}
	select {
	case err := <-heard:
		if err == errNoneThere { // which the front will hear of in a moment
			if err := wait.Sleep(ctx, talk.Lull+5*time.Millisecond); err != nil {
				return nil, err
			}
			return nil, nodes.ErrSuperseded
		}
		return nil, err
	case <-p.line.Over():
		return nil, p.n.Gone()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *part) forgo(peer string, heard chan error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.awaited[peer] = slices.DeleteFunc(p.awaited[peer], func(c chan error) bool { return c == heard })
	if len(p.awaited[peer]) == 0 {
		delete(p.awaited, peer)
	}
}

// tellAwaited wakes the callers that wait for a way to a peer or, if peer is empty, to any.
func (p *part) tellAwaited(peer string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, waits := range p.awaited {
		if peer != "" && name != peer {
			continue
		}
		for _, w := range waits {
			select {
			case w <- err:
			default:
			}
		}
	}
}
