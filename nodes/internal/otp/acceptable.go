package otp

import (
	"errors"

	"github.com/cnode-go/cnode/ei"
)

// MaxAtoms is how many atoms an answer may hold: a runtime system keeps all that it ever
// meets, and ends when it has 1,048,576.
const MaxAtoms = 10_000

// Acceptable gives a term in a form that any runtime system accepts on the node of that name;
// records: even one with native records.
func Acceptable(raw ei.Raw, node ei.Atom, records bool) (ei.Raw, error) {
	t, err := ei.DecodeOptions{Limits: ei.Limits{Atoms: MaxAtoms}, Strict: true, Records: records, Alias: true}.Decode(raw)
	if err != nil {
		return nil, err
	}
	if !Possible(t, node) {
		return nil, ErrImpossible
	}
	return ei.AppendTerm(nil, t)
}

// AcceptableEverywhere reports whether any runtime system accepts an encoded term, on whatever
// node.
func AcceptableEverywhere(raw ei.Raw) bool {
	t, err := ei.DecodeOptions{Limits: ei.Limits{Atoms: MaxAtoms}, Strict: true, Alias: true}.Decode(raw)
	return err == nil && PossibleEverywhere(t)
}

// ErrImpossible is the error of a term that names a process, a port or a reference which no node
// can have made.
var ErrImpossible = errors.New("an identifier that its node cannot have made")

// Possible reports whether a node may have made the identifiers of its own in a term. A runtime
// system refuses those that it cannot have made, and only its own: pids with a number of more than
// 28 bits, references with a first word of more than 18, ports of more than 60. (That of OTP 25 has
// lower bounds for pids and ports, and does not tell that it is one. One that passes on a term
// checks nothing of this.)
func Possible(t ei.Term, node ei.Atom) bool {
	return isPossible(t, func(of ei.Atom) bool { return of == node })
}

// PossibleEverywhere reports whether every node may have made its identifiers in a term.
func PossibleEverywhere(t ei.Term) bool { return isPossible(t, func(ei.Atom) bool { return true }) }

// isPossible is Possible for the nodes of which is is true.
func isPossible(t ei.Term, is func(node ei.Atom) bool) bool {
	for t := range ei.Walk(t) {
		ok := true
		switch t := t.(type) {
		case ei.Pid:
			ok = t.ID < 1<<28 || !is(t.Node)
		case ei.Fun:
			ok = t.Pid.ID < 1<<28 || !is(t.Pid.Node)
		case ei.Port:
			ok = t.ID < 1<<60 || !is(t.Node)
		case ei.Ref:
			ok = t.ID[0] < 1<<18 || !is(t.Node)
		}
		if !ok {
			return false
		}
	}
	return true
}
