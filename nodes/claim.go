package nodes

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

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
func (s *frontClaim) up(peer string) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.line.Say(&talk.Up{Key: s.name, Peer: peer})
	s.name = peer
}

// take is newFrontClaim for a connection.
func (p *part) take(peer string) claim { return p.newFrontClaim(peer) }

// over says that the session, attempt or connection has ended. The front keeps its own descriptor
// of the socket until it hears that the worker has taken it, and until then the peer does not see
// that the worker has closed its descriptor. So an end that is ours is said to the front at once,
// any other one together with what is said next.
func (s *frontClaim) over(ours bool) {
	s.end(&talk.Over{Peer: s.name, Now: ours})
}

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

// claim asks for the right to connect to a peer. The error is ErrConnected when another worker of
// the node has the connection, and this one now has a way to it; ErrSuperseded when things have
// changed meanwhile, and the caller is to look again.
func (p *part) claim(ctx context.Context, peer string) (claim, error) {
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
			return nil, ErrSuperseded
		}
		return nil, err
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
