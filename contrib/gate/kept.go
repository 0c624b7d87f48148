package gate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// What a BEAM puts into tables that it never empties, or empties late, whatever message brings it.
// By ERTS's sources (atom.c, export.c, erl_fun.c, erl_node_tables.c) and by trying on OTP 25, 27
// and 29, decoding fills no others.
const (
	keptAtoms = iota // never forgotten; a BEAM ends at 1,048,576
	keptFuns         // exports, and closures since OTP 29, are never forgotten; a BEAM ends at 524,288
	keptNodes        // incarnations: forgotten a minute after their last identifier has gone
	keptKinds
)

// maxFuns is how many funs the nodes of all names may bring: a BEAM has room for half a million,
// and some thousands of its own.
const maxFuns = 100_000

// A tally counts the different things of a kind that all nodes outside have brought.
type tally struct {
	one, all int   // what a name may bring, and what all together may
	full     error // one more

	mu sync.Mutex
	brought
	places *nodePlaces // nil: of another kind
}

// A brought is what a name has brought of a kind, or all names have.
type brought struct {
	seen map[string]struct{}
	// chains has how many there are in each place of ERTS's hash table; nil: it hashes well.
	chains map[uint64]int
}

// add puts in something new, if there are less than limit.
func (b *brought) add(text string, limit int, full error) error {
	if len(b.seen) >= limit {
		return full
	}
	if b.chains != nil {
		at := slotOf(text)
		if b.chains[at] >= chainOf(limit) {
			return errChain
		}
		b.chains[at]++
	}
	b.seen[text] = struct{}{}
	return nil
}

// chainOf is how many of so many atoms may be in one place: several times what chance does.
func chainOf(limit int) int { return 64 + 8*(limit>>chainBits) }

// An acquaintance is what the gate remembers of a node outside, by its name.
type acquaintance struct {
	mu      sync.Mutex
	brought [keptKinds]brought
	key     []byte       // memory for a key
	text    ei.AtomTable // so that reading the names of nodes allocates nothing
}

func newAcquaintance() *acquaintance {
	k := &acquaintance{}
	for kind := range k.brought {
		k.brought[kind] = newBrought(kind)
	}
	return k
}

func newBrought(kind int) brought {
	b := brought{seen: map[string]struct{}{}}
	if kind == keptAtoms {
		b.chains = map[uint64]int{}
	}
	return b
}

// tallies makes those of a gate.
func tallies(l Limits) [keptKinds]*tally {
	return [keptKinds]*tally{
		keptAtoms: {one: l.Atoms, all: l.AllAtoms, full: errAtoms, brought: newBrought(keptAtoms)},
		keptFuns:  {one: l.Funs, all: maxFuns, full: errFuns, brought: newBrought(keptFuns)},
		keptNodes: {one: l.Atoms, all: l.AllAtoms, full: errNodes, brought: newBrought(keptNodes), places: &nodePlaces{}},
	}
}

var (
	errAtoms = errors.New("too many atoms: Limits.Atoms, or Limits.AllAtoms")
	errChain = errors.New("too many atoms of one hash value, among which a BEAM takes long to find one")
	errFuns  = fmt.Errorf("too many funs: Limits.Funs, or %d of all names", maxFuns)
	errPlace = errors.New("too many incarnations of nodes of one hash value, among which a BEAM takes long to find one")
	errNodes = errors.New("too many incarnations of nodes in an hour: Limits.Atoms, or Limits.AllAtoms")
)

// admit counts what a name has brought, of which b has what it brought before.
func (t *tally) admit(b *brought, key []byte) error {
	if _, ok := b.seen[string(key)]; ok { // allocates nothing
		return nil
	}
	text := string(key)
	if err := b.add(text, t.one, t.full); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.seen[text]; ok {
		return nil
	}
	err := t.add(text, t.all, t.full)
	if err == nil && t.places != nil {
		if err = t.places.add(text, len(t.seen)); err != nil {
			t.remove(text)
		}
	}
	if err != nil {
		b.remove(text)
	}
	return err
}

func (b *brought) remove(text string) {
	delete(b.seen, text)
	if b.chains != nil {
		b.chains[slotOf(text)]--
	}
}

// chainBits tells how long the table of atoms is in which chains are counted. ERTS's has more
// places as soon as there are more atoms, and what is in one place there is in one place here.
const chainBits = 14

// slotOf gives where ERTS's table of atoms has one: the upper bits of a product (hash_get_slot).
// Anybody can make thousands of atoms of one place.
func slotOf(text string) uint64 { return slot(hashOf(text), chainBits) }

func slot(hash uint64, bits int) uint64 {
	hash ^= hash >> (64 - bits)
	return hash * 11400714819323198485 >> (64 - bits)
}

// hashOf is ERTS's hash of an atom: hashpjw of its text (atom_hash), a Latin-1 character being a
// byte.
func hashOf(text string) uint64 {
	var h uint32
	for i := 0; i < len(text); i++ {
		v := text[i]
		if i+1 < len(text) && v&0xfe == 0xc2 && text[i+1]&0xc0 == 0x80 {
			i++
			v = v<<6 | text[i]&0x3f
		}
		h = h<<4 + uint32(v)
		if g := h & 0xf0000000; g != 0 {
			h ^= g>>24 ^ g
		}
	}
	return uint64(h)
}

// A nodePlaces has how many incarnations there are in each place of ERTS's table of nodes, by the
// bits of its size: which of them share a place is another matter in each size.
type nodePlaces [19][]uint8

const nodePrime = 268438039 // of node_table_hash

// maxPlace is how many may be in one place: many times what chance does.
const maxPlace = 64

// add puts in a key of keptNodes, the last one of total. The table has two places for three
// incarnations, or more (hash.c), and holds others beside those.
func (p *nodePlaces) add(key string, total int) error {
	name := key[:len(key)-4]
	creation := uint64(binary.BigEndian.Uint32([]byte(key[len(name):])))
	hash := (hashOf(name) + creation) * nodePrime
	var in [len(p)]*uint8
	for bits := range p {
		if p[bits] == nil {
			p[bits] = make([]uint8, 1<<bits)
		}
		in[bits] = &p[bits][slot(hash, bits)]
		if total <= 2<<bits && *in[bits] >= maxPlace {
			return errPlace
		}
	}
	for _, n := range in {
		*n += min(1, math.MaxUint8-*n)
	}
	return nil
}

// forgetNodes is for once in an hour: a BEAM has forgotten by then what nobody holds.
func (g *Gate) forgetNodes() {
	g.mu.Lock()
	known := slices.Collect(maps.Values(g.known))
	g.mu.Unlock()
	for _, k := range known {
		k.mu.Lock()
		clear(k.brought[keptNodes].seen)
		k.mu.Unlock()
	}
	t := g.kept[keptNodes]
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.seen)
	*t.places = nodePlaces{}
}

const nodesTime = time.Hour

// admitted gives what a name has brought of a kind, for another process.
func (k *acquaintance) admitted(kind int) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Collect(maps.Keys(k.brought[kind].seen))
}

// restore counts what has come before. Limits that are lower now hold for what is new.
func (t *tally) restore(b *brought, list []string) {
	for _, text := range list {
		for _, b := range []*brought{b, &t.brought} {
			if _, ok := b.seen[text]; !ok {
				_ = b.add(text, math.MaxInt, nil)
			}
		}
	}
}

// admitHead counts what a control message has but for its terms.
func (f *filter) admitHead(ctl *dist.Control) error {
	k := f.known
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, a := range []ei.Atom{ctl.FromName, ctl.ToName, ctl.Module, ctl.Function} {
		if a != "" {
			if err := f.admitAtom(a); err != nil {
				return err
			}
		}
	}
	for _, n := range []struct {
		node     ei.Atom
		creation uint32
	}{
		{ctl.From.Node, ctl.From.Creation}, {ctl.To.Node, ctl.To.Creation},
		{ctl.GroupLeader.Node, ctl.GroupLeader.Creation}, {ctl.Ref.Node, ctl.Ref.Creation},
	} {
		if n.node == "" {
			continue
		}
		if n.node != ei.Atom(f.outer) && n.node != ei.Atom(f.inner) {
			if err := f.admitAtom(n.node); err != nil {
				return err
			}
		}
		if err := f.admitNode(n.node, n.creation); err != nil {
			return err
		}
	}
	return nil
}

// admitTerms checks that terms are well-formed, and counts what a BEAM keeps of them.
func (f *filter) admitTerms(terms ...ei.Raw) error {
	k := f.known
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, raw := range terms {
		if len(raw) == 0 {
			continue
		}
		var refused error
		err := raw.WalkNames(func(part ei.Raw) bool {
			refused = f.admitPart(part)
			return refused == nil
		})
		if err != nil {
			return fmt.Errorf("no term that a BEAM reads: %w", err)
		}
		if refused != nil {
			return refused
		}
	}
	return nil
}

// admitPart counts a part of a term, as Raw.WalkNames gives it.
func (f *filter) admitPart(part ei.Raw) error {
	c := ei.NewCursor(part)
	c.Atoms = &f.known.text
	switch tag := ei.Tag(part[0]); {
	case tag == ei.TagSmallAtomUTF8Ext:
		return f.admit(keptAtoms, part[2:])
	case tag.IsAtom():
		a, err := c.Atom()
		if err != nil {
			return err
		}
		return f.admitAtom(a)
	case tag == ei.TagExportExt:
		return f.admit(keptFuns, part)
	case tag == ei.TagNewFunExt:
		return f.admitClosure(part)
	case tag.IsPid():
		p, err := c.Pid()
		if err != nil {
			return err
		}
		return f.admitNode(p.Node, p.Creation)
	case tag.IsPort():
		p, err := c.Port()
		if err != nil {
			return err
		}
		return f.admitNode(p.Node, p.Creation)
	}
	r, err := c.Ref()
	if err != nil {
		return err
	}
	return f.admitNode(r.Node, r.Creation)
}

// admitClosure counts a closure by what tells it from others in ERTS's table: arity, uniq, index,
// module, old index and old uniq.
func (f *filter) admitClosure(part ei.Raw) error {
	const fixed, free = 30, 26 // the bytes before the module, and before the number of free variables
	c := ei.NewCursor(part[fixed:])
	for range 3 {
		if err := c.Skip(); err != nil {
			return err
		}
	}
	f.known.key = append(append(f.known.key[:0], part[5:free]...), part[fixed:fixed+c.Offset()]...)
	return f.admit(keptFuns, f.known.key)
}

func (f *filter) admitNode(node ei.Atom, creation uint32) error {
	f.known.key = binary.BigEndian.AppendUint32(append(f.known.key[:0], node...), creation)
	return f.admit(keptNodes, f.known.key)
}

func (f *filter) admitAtom(a ei.Atom) error {
	f.known.key = append(f.known.key[:0], a...)
	return f.admit(keptAtoms, f.known.key)
}

// admit counts one of a kind; f.known is locked.
func (f *filter) admit(kind int, key []byte) error {
	return f.g.kept[kind].admit(&f.known.brought[kind], key)
}
