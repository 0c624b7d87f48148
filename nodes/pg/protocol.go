package pg

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// The messages between scope processes, as modules pg and (since OTP 29) data_publisher of kernel
// have them:
//
//	{discover, P}                                            I am P, and speak protocol 0
//	{discover, P, Version}                                   I am P, and speak that one
//	{'$gen_cast', {sync, P, [{Group, [Pid]}]}}               0: all members of P's node
//	{'$gen_cast', {local_data, P, 1, #{Group => [Pid]}}}     1: the same
//	{join, P, Group, Pid | [Pid]}                            0: more members
//	{leave, P, Pid | [Pid], [Group]}                         0: fewer
//	{update, P, [{Group, Joined, Left}]}                     1: both
//
// Scopes of one node's workers also say to each other
//
//	{'$cnode_pg', hello, P}              I am P
//	{'$cnode_pg', nodes, P, [Node]}      the nodes that P's worker is connected to

// highest is the newest protocol that this package speaks.
const highest = 1

type kind uint8

const (
	discover kind = iota + 1
	whole         // sync, local_data
	update        // join, leave, update
	hello         // of another worker
	itsNodes      // of another worker
	nodeUp        // of this node
	nodeDown      // of this node
)

// A message is one that was read.
type message struct {
	kind    kind
	from    ei.Pid // the scope process that it speaks of; nodeUp and nodeDown have none
	version int
	changes []change
	nodes   []string
	room    int  // how many bytes what is still to be read may take
	over    bool // an update that says more than there is room for: changes has none

	// Of a whole changes has what is first in the order of keys, if there is more than limit.
	limit   int
	cut     string // what is from here on in the order of keys is left out; "": nothing is
	leftOut rest
}

// A rest is memberships that are left out, and how many bytes they take.
type rest struct{ count, bytes int }

func (r *rest) add(count, bytes int) { r.count, r.bytes = r.count+count, r.bytes+bytes }

// A change is what a message says of one group, whose key is key.
type change struct {
	key          string
	joined, left []ei.Pid
	times        int // of a leave, whose left is the same for all groups: how often each is removed
}

// errShape says that a message is not of the form that its first words promise, and errUnknown that
// there are no such words.
var (
	errShape   = errors.New("malformed message")
	errUnknown = errors.New("unknown message")
	errForeign = errors.New("a process of another node")
	errRoom    = errors.New("more than Options.Limit allows")
)

// A parser reads messages. It keeps atoms that come again.
type parser struct {
	atoms *ei.AtomTable
	limit int // Options.Limit
}

func newParser(limit int) *parser { return &parser{ei.NewAtomTable(1024), limit} }

// parse reads a message. It takes memory in proportion to its length only, and no more than a peer
// may have: twice that, since an update may have all that was there leave, and as much join. Of a
// whole that has more, it is the part that may be kept.
func (p *parser) parse(payload ei.Raw) (m message, err error) {
	c := ei.NewCursor(payload)
	c.Atoms = p.atoms
	arity, err := c.Tuple()
	if err != nil {
		return m, errUnknown
	}
	word, err := c.Atom()
	if err != nil {
		return m, errUnknown
	}
	if word == "$gen_cast" && arity == 2 {
		if arity, err = c.Tuple(); err != nil {
			return m, errUnknown
		}
		if word, err = c.Atom(); err != nil {
			return m, errUnknown
		}
	}
	read := readers[shape{word, arity}]
	if read == nil {
		return m, errUnknown
	}
	m.room, m.limit = 2*min(p.limit, math.MaxInt/2), p.limit
	switch err = read(&c, &m); {
	case errors.Is(err, errRoom):
		m.over, m.changes = true, nil
	case err != nil:
		return m, fmt.Errorf("%w: %v: %w", errShape, word, err)
	}
	m.room, m.limit = 0, 0
	return m, nil
}

// A shape is how a message begins.
type shape struct {
	word  ei.Atom
	arity int
}

var readers = map[shape]func(c *ei.Cursor, m *message) error{
	{"discover", 2}:   func(c *ei.Cursor, m *message) error { return m.readFrom(c, discover) },
	{"discover", 3}:   readDiscover,
	{"sync", 3}:       readSync,
	{"local_data", 4}: readLocalData,
	{"join", 4}:       readJoin,
	{"leave", 4}:      readLeave,
	{"update", 3}:     readUpdate,
	{"nodeup", 3}:     func(c *ei.Cursor, m *message) error { return m.readNode(c, nodeUp) },
	{"nodedown", 3}:   func(c *ei.Cursor, m *message) error { return m.readNode(c, nodeDown) },
	{"$cnode_pg", 3}:  func(c *ei.Cursor, m *message) error { _ = c.Skip(); return m.readFrom(c, hello) },
	{"$cnode_pg", 4}:  readNodes,
}

func (m *message) readFrom(c *ei.Cursor, k kind) (err error) {
	m.kind = k
	m.from, err = c.Pid()
	return err
}

func (m *message) readNode(c *ei.Cursor, k kind) error {
	m.kind = k
	node, err := c.Atom()
	m.nodes = []string{string(node)}
	return errors.Join(err, c.Skip())
}

func readDiscover(c *ei.Cursor, m *message) error {
	if err := m.readFrom(c, discover); err != nil {
		return err
	}
	return m.readVersion(c)
}

// readVersion reads the version of a protocol: the highest that both sides speak. Versions that are
// no integers, or negative, are taken for 0.
func (m *message) readVersion(c *ei.Cursor) error {
	v, err := c.Int()
	if err != nil {
		return c.Skip()
	}
	m.version = int(max(0, min(v, highest)))
	return nil
}

func readSync(c *ei.Cursor, m *message) error {
	if err := m.readFrom(c, whole); err != nil {
		return err
	}
	return eachOf(c, func() error {
		arity, err := c.Tuple()
		if err != nil || arity != 2 {
			return errors.Join(err, errShape)
		}
		return m.readMembers(c)
	})
}

func readLocalData(c *ei.Cursor, m *message) error {
	if err := m.readFrom(c, whole); err != nil {
		return err
	}
	if err := m.readVersion(c); err != nil {
		return err
	}
	pairs, err := c.Map()
	for range pairs {
		if err == nil {
			err = m.readMembers(c)
		}
	}
	return err
}

// readMembers reads a group of a whole, and its members. If that is more than there is room for, it
// leaves out what is last in the order of keys.
func (m *message) readMembers(c *ei.Cursor) error {
	raw, err := c.Raw()
	if err != nil {
		return err
	}
	key, err := keyOf(raw)
	if err != nil {
		return err
	}
	one, count := change{key: key}, 0
	err = eachOf(c, func() error {
		pid, err := m.readPid(c)
		if count++; err == nil && count <= m.limit/memberCost {
			one.joined = append(one.joined, pid)
		}
		return err
	})
	switch {
	case err != nil || count == 0:
		return err
	case m.cut != "" && key >= m.cut:
		m.leftOut.add(count, groupCost+len(key)+memberCost*count)
		return nil
	}
	m.leftOut.add(count-len(one.joined), memberCost*(count-len(one.joined)))
	m.changes = append(m.changes, one)
	if m.take(one.cost()) != nil {
		m.fit(m.limit)
		m.room = 2 * min(m.limit, math.MaxInt/2)
		for i := range m.changes {
			m.room -= m.changes[i].cost()
		}
	}
	return nil
}

// cost is what the members take that a whole has of a group.
func (c *change) cost() int { return groupCost + len(c.key) + memberCost*len(c.joined) }

// fit leaves out of a whole what does not fit into limit: of the groups in the order of their keys
// the first ones stay, and of the last one of these as many members as there is room for.
// Without an order each answer would keep others, for peers tell in that of their tables.
func (m *message) fit(limit int) {
	slices.SortStableFunc(m.changes, func(a, b change) int { return strings.Compare(a.key, b.key) })
	for i := range m.changes {
		c := &m.changes[i]
		if limit -= c.cost(); limit >= 0 {
			continue
		}
		m.cut = c.key
		gone := min(-limit+memberCost-1, memberCost*len(c.joined)) / memberCost
		if stay := len(c.joined) - gone; stay > 0 {
			m.leftOut.add(gone, memberCost*gone)
			c.joined = slices.Clip(c.joined[:stay])
			i++
			m.cut += "\x00" // what is after it
		}
		for _, c := range m.changes[i:] {
			m.leftOut.add(len(c.joined), c.cost())
		}
		clear(m.changes[i:])
		m.changes = m.changes[:i]
		return
	}
}

func readJoin(c *ei.Cursor, m *message) error {
	if err := m.readFrom(c, update); err != nil {
		return err
	}
	key, err := m.readKey(c)
	if err != nil {
		return err
	}
	pids, err := m.readPids(c, true)
	m.changes = []change{{key: key, joined: pids}}
	return err
}

func readLeave(c *ei.Cursor, m *message) error {
	if err := m.readFrom(c, update); err != nil {
		return err
	}
	pids, err := m.readPids(c, true)
	if err != nil {
		return err
	}
	at := map[string]int{} // a process that has joined a group twice leaves it twice
	return eachOf(c, func() error {
		key, err := m.readKey(c)
		if err != nil {
			return err
		}
		if i, again := at[key]; again {
			m.changes[i].times++
			return nil
		}
		at[key] = len(m.changes)
		m.changes = append(m.changes, change{key: key, left: pids, times: 1})
		return nil
	})
}

func readUpdate(c *ei.Cursor, m *message) error {
	if err := m.readFrom(c, update); err != nil {
		return err
	}
	at := map[string]int{} // a group that is named again is looked through only once: all joins come first
	return eachOf(c, func() error {
		arity, err := c.Tuple()
		if err != nil || arity != 3 {
			return errors.Join(err, errShape)
		}
		key, err := m.readKey(c)
		if err != nil {
			return err
		}
		joined, err := m.readPids(c, false)
		if err != nil {
			return err
		}
		left, err := m.readPids(c, false)
		if i, again := at[key]; again {
			m.changes[i].joined = append(m.changes[i].joined, joined...)
			m.changes[i].left = append(m.changes[i].left, left...)
			return err
		}
		at[key] = len(m.changes)
		m.changes = append(m.changes, change{key: key, joined: joined, left: left})
		return err
	})
}

func readNodes(c *ei.Cursor, m *message) error {
	_ = c.Skip()
	if err := m.readFrom(c, itsNodes); err != nil {
		return err
	}
	return eachOf(c, func() error {
		node, err := c.Atom()
		m.nodes = append(m.nodes, string(node))
		return err
	})
}

// eachOf calls read for each element of a proper list.
func eachOf(c *ei.Cursor, read func() error) error {
	for {
		n, err := c.List()
		if err != nil || n == 0 {
			return err
		}
		for range n {
			if err := read(); err != nil {
				return err
			}
		}
	}
}

// readPids reads a list of pids or, if one is allowed, a single one. All must be of the node of the
// scope process: a scope speaks for its own node only.
func (m *message) readPids(c *ei.Cursor, one bool) (pids []ei.Pid, err error) {
	read := func() error {
		pid, err := m.readPid(c)
		if err == nil {
			err = m.take(memberCost)
		}
		pids = append(pids, pid)
		return err
	}
	if tag, err := c.Peek(); one && err == nil && tag.IsPid() {
		return pids, errors.Join(read())
	}
	err = eachOf(c, read)
	return pids, err
}

func (m *message) readPid(c *ei.Cursor) (ei.Pid, error) {
	pid, err := c.Pid()
	if err == nil && pid.Node != m.from.Node {
		err = fmt.Errorf("%w: %v", errForeign, pid)
	}
	pid.Node = m.from.Node // one string for all
	return pid, err
}

func (m *message) readKey(c *ei.Cursor) (string, error) {
	raw, err := c.Raw()
	if err == nil {
		err = m.take(groupCost + len(raw))
	}
	if err != nil {
		return "", err
	}
	return keyOf(raw)
}

// take counts bytes that something is about to take.
func (m *message) take(bytes int) error {
	if m.room -= bytes; m.room < 0 {
		return errRoom
	}
	return nil
}

// keyOf is the key of a group: of all encodings of a term the same one.
func keyOf(raw ei.Raw) (string, error) {
	c := ei.NewCursor(raw)
	if tag, err := c.Peek(); err == nil && tag.IsAtom() {
		a, err := c.Atom()
		if err != nil {
			return "", err
		}
		b, err := ei.AppendAtom(make([]byte, 0, len(a)+3), a)
		return string(b), err
	}
	t, err := otp.Canonical(raw)
	if err != nil {
		return "", err
	}
	b, err := ei.AppendTerm(make([]byte, 0, len(raw)), t)
	return string(b), err
}
