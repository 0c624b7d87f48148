// Package handoffpoint has the points in the course of a hand-off of package transport/handoff, for
// the tests of this module: at each of them a test lets one side stop, fail or die.
package handoffpoint

import "context"

// A Point is a place in the course of a hand-off that the old or the new owner (the heir) has
// reached. Points are finer than steps: between any two of them something can go
// wrong.
type Point string

// The points of the old owner, in order.
const (
	OwnerConnected       Point = "owner: connected, nothing said"
	OwnerGreeted         Point = "owner: hello exchanged"
	OwnerStaticHalf      Point = "owner: first piece of the static state sent"
	OwnerFreezes         Point = "owner: about to freeze"
	OwnerFrozen          Point = "owner: frozen"
	OwnerDescriptorsHalf Point = "owner: first descriptors sent"
	OwnerDescriptorsSent Point = "owner: all descriptors sent, no state"
	OwnerStateHalf       Point = "owner: first piece of the state sent"
	OwnerStateSent       Point = "owner: all of the state sent"
	OwnerOffered         Point = "owner: pipe sent"
	OwnerAccepted        Point = "owner: accepted, no token written"
	OwnerCommitted       Point = "owner: token written"
	OwnerHeard           Point = "owner: not the owner any more, nothing released"
	OwnerReleased        Point = "owner: released"
	OwnerLeaves          Point = "owner: goodbye said"
)

// The points of the new owner, in order.
const (
	HeirConnected       Point = "heir: connected, nothing said"
	HeirGreeted         Point = "heir: hello exchanged"
	HeirStaticHalf      Point = "heir: first piece of the static state received"
	HeirPrepared        Point = "heir: prepared"
	HeirDescriptorsHalf Point = "heir: first descriptors received"
	HeirDescriptorsAll  Point = "heir: first of the state received"
	HeirStateHalf       Point = "heir: first piece of the state received"
	HeirStateAll        Point = "heir: all of the state received"
	HeirOffered         Point = "heir: pipe received"
	HeirStaged          Point = "heir: staged, accept sent"
	HeirWaits           Point = "heir: about to read the token"
	HeirOwns            Point = "heir: token read"
	HeirStarted         Point = "heir: started, nothing said"
	HeirSaid            Point = "heir: done said"
	HeirParted          Point = "heir: goodbye heard"
)

type key struct{}

// With returns a context under which handoff.Offer.Give or handoff.Acceptance.Take calls reached at
// each point that is passed, on its own goroutine.
func With(ctx context.Context, reached func(Point)) context.Context {
	return context.WithValue(ctx, key{}, reached)
}

// Of is what With has been given; nil: nothing.
func Of(ctx context.Context) func(Point) {
	reached, _ := ctx.Value(key{}).(func(Point))
	return reached
}
