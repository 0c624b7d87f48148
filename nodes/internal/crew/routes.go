package crew

import (
	"github.com/cnode-go/cnode/nodes/internal/talk"
)

// A route says which workers have something to do with a peer: connections, and handshakes in
// progress.
type route struct {
	held map[*Worker]int
	at   *Worker // the worker that has the connection, or else the latest handshake
	// at has, or had, a connection: sessions of other workers have only given the peer's name, as
	// any stranger can
	proven bool
}

// lose takes a worker off the route.
func (r *route) lose(w *Worker) {
	delete(r.held, w)
	if r.at == w {
		r.at, r.proven = nil, false
		for other := range r.held {
			r.at = other
		}
	}
}

// enter counts a session of a peer; c.mu is held.
func (c *Crew) enter(w *Worker, peer string) {
	w.sessions++
	if peer == "" {
		return
	}
	r := c.routes[peer]
	if r == nil {
		r = &route{held: map[*Worker]int{}}
		c.routes[peer] = r
	}
	r.held[w]++
	if !r.proven {
		r.at = w
	}
}

// leave undoes enter, or claim, when a session or connection has ended; c.mu is held.
func (c *Crew) leave(w *Worker, peer string) {
	r := c.routes[peer]
	if r == nil || r.held[w] == 0 {
		return
	}
	if r.held[w]--; r.held[w] > 0 {
		return
	}
	if r.lose(w); len(r.held) == 0 {
		delete(c.routes, peer)
	}
}

// up notes that a worker has the connection to a peer, which has proven its cookie. Other workers
// that have connections to the peer are told that these are over, as the peer sees it; c.mu is
// held.
func (c *Crew) up(w *Worker, key, peer string) {
	if key != peer {
		w.sessions--
		c.enter(w, peer)
	}
	r := c.routes[peer]
	if r == nil {
		return
	}
	r.at, r.proven = w, true
	for other := range r.held {
		if other != w {
			other.Say(&talk.CloseConn{Peer: peer})
		}
	}
}

// claim answers a worker that wants to connect to a peer; c.mu is held.
func (c *Crew) claim(w *Worker, m *talk.Claim) {
	if r := c.routes[m.Peer]; r != nil && r.at != nil && r.at != w {
		r.at.Say(&talk.LinkRequest{Peer: m.Peer, Part: w.number})
		w.Say(&talk.Answer{ID: m.ID, Part: r.at.number})
		return
	}
	c.enter(w, m.Peer)
	w.Say(&talk.Answer{ID: m.ID, Part: w.number})
}
