package nodes

import (
	"context"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/inside"
)

// A router is what a node that is one of several processes has to do with the others: package
// workers has it. That of a node which is one process is alone.
type router = inside.Router[*Conn, *Message]

// alone is the router of a node that is one process.
type alone struct{}

func (alone) WorkerLink(int) *Conn                                       { return nil }
func (alone) AllWorkerLinks() []*Conn                                    { return nil }
func (alone) Reach(context.Context, int) (*Conn, error)                  { return nil, nil }
func (alone) ReachFor(*Conn, int) (*Conn, error)                         { return nil, ErrNoConnection }
func (alone) Across(context.Context, ei.Pid, ei.Atom) (*Conn, error)     { return nil, nil }
func (alone) Lookup(context.Context, ei.Atom) (ei.Pid, error)            { return ei.Pid{}, ErrNoProc }
func (alone) Divert(*Conn, *Message) bool                                { return false }
func (alone) Claim(context.Context, string) (inside.Claim, error)        { return inside.Unclaimed{}, nil }
func (alone) Take(string) inside.Claim                                   { return inside.Unclaimed{} }
func (alone) ClaimName(context.Context, ei.Atom, uint64) (func(), error) { return func() {}, nil }
func (alone) ReleaseName(ei.Atom) bool                                   { return false }
func (alone) Struck(ei.Atom)                                             {}
func (alone) EndRelayLinks(*Conn)                                        {}
func (alone) Lose(*Conn)                                                 {}
func (alone) ClosePeerLink(*Conn)                                        {}
func (alone) Close()                                                     {}
func (alone) IsPublished() bool                                          { return false }
func (alone) PauseWork(context.Context) (func(), error)                  { return func() {}, nil }
func (alone) PauseLine(context.Context, []*Conn, func([]*Conn) error) error {
	return nil
}
func (alone) HoldLine(context.Context) (func(), error) { return func() {}, nil }
func (alone) PutWorkerLink(*Conn)                      {}
