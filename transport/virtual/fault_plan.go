package virtual

import (
	"cmp"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// maxJoin is how many bytes a join keeps back at the most.
const maxJoin = 64 << 10

// maxPiece is the longest piece, in bytes: the length of many pieces still fits into an offset.
const maxPiece = 1 << 30

// A plan says what happens at which offset of one direction of a connection. It depends on nothing
// but the options and the connection's number.
type plan struct {
	rng    *rand.Rand
	f      *Faults
	draws  []draw
	write  bool
	random bool      // some faults are left to chance
	at     []FaultAt // by offset
	drawn  piece     // the one that comes next
	end    int64     // of that piece
}

// A draw is one fault that is left to chance.
type draw struct {
	kind        FaultKind
	probability float64
	during      time.Duration
}

// draws are the faults that are drawn for each piece, in the order in which they take random
// numbers from the source.
func (f *Faults) draws() []draw {
	return []draw{
		{FaultSplit, f.Split, 0}, {FaultJoin, f.Join, f.JoinFor}, {FaultShortWrite, f.ShortWrite, 0}, {FaultDelay, f.Delay, f.MaxDelay},
	}
}

// A piece is a run of bytes with faults at its first one only.
type piece struct {
	start, end int64
	does       []FaultEvent // Kind, Offset and For of the faults at start
	hold       time.Duration
	join       time.Duration // how long to wait for the bytes up to joined
	joined     int64
	short      bool // a write ends before it
	reset      bool
}

// event is the fault of a kind at the beginning of the piece.
func (c *piece) event(kind FaultKind) FaultEvent { return FaultEvent{Kind: kind, Offset: c.start} }

// newPlan makes the plan of one direction. at are the faults at certain offsets of it.
func newPlan(rng *rand.Rand, f *Faults, write bool, at []FaultAt) *plan {
	p := &plan{rng: rng, f: f, draws: f.draws(), write: write, at: at}
	p.random = slices.ContainsFunc(p.draws, func(d draw) bool { return d.probability > 0 })
	slices.SortStableFunc(p.at, func(a, b FaultAt) int { return cmp.Compare(a.Offset, b.Offset) })
	p.drawn = p.draw()
	return p
}

// quiet is how many pieces without faults are joined to one.
const quiet = 1024

// next returns the next piece; pieces without a fault become part of the one before.
func (p *plan) next() piece {
	this := p.drawn
	p.drawn = p.draw()
	for range quiet {
		if len(p.drawn.does) > 0 || p.drawn.start == p.drawn.end {
			break
		}
		this.end = p.drawn.end
		p.drawn = p.draw()
	}
	return this
}

// draw draws the next piece. Every piece takes as many random numbers from the source as every
// other, so that a change of one probability does not move the other faults.
func (p *plan) draw() piece {
	c := piece{start: p.end, end: math.MaxInt64}
	if p.random {
		c.end = c.start + p.length()
	}
	var here []FaultAt
	for len(p.at) > 0 && p.at[0].Offset <= c.start {
		if p.at[0].Offset == c.start {
			here = append(here, p.at[0])
		}
		p.at = p.at[1:]
	}
	if len(p.at) > 0 {
		c.end = min(c.end, p.at[0].Offset)
	}
	p.end, c.joined = c.end, min(c.end, c.start+maxJoin)
	if p.random {
		for _, d := range p.draws {
			happens, value := p.rng.Float64() < d.probability, p.rng.Float64()
			if d.kind == FaultDelay {
				d.during = max(time.Duration(value*float64(d.during)), 1)
			}
			if happens {
				c.add(p, FaultAt{Kind: d.kind, For: d.during})
			}
		}
	}
	for _, at := range here {
		c.add(p, at)
	}
	return c
}

// add puts a fault at the beginning of the piece.
func (c *piece) add(p *plan, at FaultAt) {
	or := func(otherwise time.Duration) time.Duration {
		if at.For > 0 {
			return at.For
		}
		return otherwise
	}
	var during time.Duration
	switch at.Kind {
	case FaultSplit:
	case FaultJoin:
		if p.write {
			return
		}
		during = or(p.f.JoinFor)
		c.join = max(c.join, during)
		if at.Bytes > 0 {
			c.joined = c.start + int64(min(at.Bytes, maxJoin))
			if len(p.at) > 0 {
				c.joined = min(c.joined, p.at[0].Offset)
			}
			p.end, c.end = max(p.end, c.joined), max(c.end, c.joined)
		}
	case FaultShortWrite:
		if !p.write {
			return
		}
		c.short = true
	case FaultDelay:
		during = or(p.f.MaxDelay)
		c.hold += min(during, transport.Infinite-c.hold)
	case FaultReset:
		c.reset = true
	default: // there is none of this kind
		return
	}
	c.does = append(c.does, FaultEvent{Kind: at.Kind, Offset: c.start, For: during})
}

// length draws how long a piece is: short ones are as likely as long ones.
func (p *plan) length() int64 {
	most := int64(1) << p.rng.IntN(bits.Len64(uint64(p.f.Piece-1))+1)
	return 1 + p.rng.Int64N(min(most, int64(p.f.Piece)))
}
