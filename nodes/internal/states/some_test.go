package states

import (
	"time"

	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/form"
)

// few is a list of up to three.
func few[T any](t *rapid.T, what string, draw func() T) []T {
	var list []T
	for range rapid.IntRange(0, 3).Draw(t, what) {
		list = append(list, draw())
	}
	return list
}

// list is one whose elements are written one at a time.
func list[T any](all []T) form.List[T] {
	if len(all) == 0 {
		return form.List[T]{}
	}
	return form.List[T]{All: func(yield func(*T, error) bool) {
		for i := range all {
			if !yield(&all[i], nil) {
				return
			}
		}
	}}
}

func someBytes(t *rapid.T, what string) []byte {
	b := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, what)
	if len(b) == 0 {
		return []byte{}
	}
	return b
}

func somePid(t *rapid.T) ei.Pid {
	if rapid.Bool().Draw(t, "no pid") {
		return ei.Pid{}
	}
	return ei.Pid{Node: ei.Atom(someName(t)), ID: rapid.Uint32().Draw(t, "id"), Serial: rapid.Uint32().Draw(t, "serial"),
		Creation: rapid.Uint32().Draw(t, "creation")}
}

func someRef(t *rapid.T) ei.Ref {
	return ei.Ref{Node: ei.Atom(someName(t)), Creation: rapid.Uint32().Draw(t, "creation"), Len: 3,
		ID: [5]uint32{1, rapid.Uint32().Draw(t, "id"), 3}}
}

func someName(t *rapid.T) string {
	return rapid.StringMatching(`[a-zé]{1,9}@[a-z.]{1,9}`).Draw(t, "name")
}

func someMessage(t *rapid.T) Message {
	atom := func(what string) ei.Atom { return ei.Atom(rapid.StringN(0, 9, -1).Draw(t, what)) }
	return Message{
		Control: dist.Control{
			Op: dist.Op(rapid.Byte().Draw(t, "op")), From: somePid(t), To: somePid(t), FromName: atom("from"), ToName: atom("to"),
			Ref: someRef(t), ID: rapid.Uint64().Draw(t, "id"), Flags: rapid.Uint64().Draw(t, "flags"), Reason: ei.Raw("reason"),
			Token: ei.Raw("token"), GroupLeader: somePid(t), Module: atom("module"), Function: atom("function"),
			Arity: rapid.Byte().Draw(t, "arity"), Options: ei.Raw("options"), Result: ei.Raw("result"),
		},
		Payload: ei.Raw(rapid.StringN(1, 200, -1).Draw(t, "payload")), Peer: someName(t),
	}
}

func someBonds(t *rapid.T) Bonds {
	return Bonds{
		Pid: somePid(t),
		Links: few(t, "links", func() Link {
			return Link{somePid(t), rapid.Bool().Draw(t, "active"), rapid.Uint64().Draw(t, "unlink")}
		}),
		Watchers: few(t, "watchers", func() Watcher { return Watcher{someRef(t), somePid(t), "name", rapid.Bool().Draw(t, "awaits")} }),
		Watching: few(t, "watching", func() Watching {
			return Watching{someRef(t), someName(t), somePid(t), "", rapid.IntRange(0, 8191).Draw(t, "part")}
		}),
		Downs: few(t, "downs", func() Down { return Down{someName(t), rapid.IntRange(0, 9).Draw(t, "count")} }),
	}
}

func someConn(t *rapid.T) Conn {
	s := Conn{
		TransportID: TransportID{"tcp", rapid.IntRange(0, 3).Draw(t, "place")}, Export: someBytes(t, "export"),
		Descriptor: rapid.IntRange(0, 1<<20).Draw(t, "descriptor"),
		Self:       someName(t), SelfCreation: rapid.Uint32().Draw(t, "creation"),
		Peer: dist.Peer{
			Name: someName(t), Creation: rapid.Uint32().Draw(t, "creation"), Flags: dist.Flags(rapid.Uint64().Draw(t, "flags")),
			Announced: dist.Flags(rapid.Uint64().Draw(t, "flags")), Version: 6, Status: dist.Status("ok"),
		},
		Initiated: rapid.Bool().Draw(t, "initiated"), Pid: somePid(t), Ahead: someBytes(t, "ahead"), Rest: someBytes(t, "rest"),
		Unread: few(t, "unread", func() Message { return someMessage(t) }),
		Clock:  &Clock{time.Duration(rapid.Int64Range(0, 1<<40).Draw(t, "age")), true, false, 2, 5},
		Bonds:  few(t, "bonds", func() Bonds { return someBonds(t) }), Received: 1, Messages: 2, Sent: 3, Made: 4,
	}
	if rapid.Bool().Draw(t, "alone") {
		s.Giver = &Giver{rapid.Uint64().Draw(t, "instance"), rapid.Uint16().Draw(t, "worker")}
	}
	s.Unaccepted = Place(rapid.IntRange(0, 9).Draw(t, "unaccepted"))
	s.Peer.SelfName, s.Peer.SelfCreation = s.Self, s.SelfCreation
	return s
}

func someNode(t *rapid.T) Node {
	publication := &Publication{someBytes(t, "state"), 2, 7}
	if rapid.Bool().Draw(t, "unpublished") {
		publication = nil
	}
	return Node{
		Name: someName(t), Creation: rapid.Uint32().Draw(t, "creation"), Pids: rapid.Uint64().Draw(t, "pids"), Refs: rapid.Uint64().Draw(t,
			"refs"),
		Started: rapid.Bool().Draw(t, "started"), Published: rapid.Bool().Draw(t, "published"),
		Conns: few(t, "conns", func() Conn { return someConn(t) }),
		Mailboxes: list(few(t, "mailboxes", func() Mailbox {
			own := someBonds(t)
			return Mailbox{
				Bonds: own, Names: few(t, "names", func() Name { return Name{"x"} }),
				Limit: 100, Full: 1, TrapExit: true, Messages: list(few(t, "messages", func() Message { return someMessage(t) })),
				Priority: true, Aliases: few(t, "aliases", func() Alias { return Alias{someRef(t), 3} }),
				HandsOver: true, Handover: append(someBytes(t, "handover"), 'x'), Label: append(someBytes(t, "label"), 'x'), Parent: somePid(t),
				NodeTypes: 3, NodesUp: few(t, "nodes", func() Up { return Up{someName(t), rapid.Bool().Draw(t, "visible")} }),
			}
		})),
		Orphans: few(t, "orphans", func() Bonds { return someBonds(t) }),
		Listeners: few(t, "listeners", func() Listener {
			return Listener{TransportID{"unix", rapid.IntRange(0, 3).Draw(t, "place")}, 5, true, rapid.Bool().Draw(t, "keeps"),
				rapid.Bool().Draw(t, "begun")}
		}),
		Publication: publication,
		Blob:        append(someBytes(t, "blob"), 'x'), Stats: [7]int64{1, 2, 3, 4, 5, 6, 7},
	}
}

func someLineMessages(t *rapid.T, what string) []LineMessage {
	return few(t, what, func() LineMessage {
		return LineMessage{someBytes(t, "json"), Place(rapid.IntRange(0, 9).Draw(t, "descriptor"))}
	})
}

func someNames(t *rapid.T, what string) []Name {
	return few(t, what, func() Name { return Name{ei.Atom(someName(t))} })
}

func someFront(t *rapid.T) Front {
	number := func(what string) int { return rapid.IntRange(0, 1<<20).Draw(t, what) }
	return Front{
		Node: someBytes(t, "node"), Descriptors: number("descriptors"),
		Arrivals: rapid.Uint64().Draw(t, "arrivals"), LastPart: number("part"),
		Crew: few(t, "crew", func() Crewman {
			return Crewman{
				Slot: number("slot"), Part: number("part"), PID: number("pid"), Handle: Place(number("handle")), Line: number("line"),
				Ready: rapid.Bool().Draw(t, "ready"), Hangs: rapid.Bool().Draw(t, "hangs"), Sessions: number("sessions"),
				Age: time.Duration(number("age")), Moves: 3, Socket: 4,
				Unsent:  someLineMessages(t, "unsent"),
				Untaken: few(t, "untaken", func() Session { return Session{1, Place(number("descriptor")), someName(t), 3} }),
			}
		}),
		Routes: few(t, "routes", func() Route {
			held := few(t, "held", func() Held { return Held{number("part"), 2} })
			return Route{someName(t), number("at"), held, rapid.Bool().Draw(t, "proven")}
		}),
		Names: few(t, "names", func() Tenancy {
			return Tenancy{someName(t), number("part"), rapid.Uint64().Draw(t, "number")}
		}),
		NameTable: Place(number("name table")),
	}
}

func someWorker(t *rapid.T) Worker {
	number := func(what string) int { return rapid.IntRange(0, 1<<20).Draw(t, what) }
	return Worker{
		Node: someBytes(t, "node"), Descriptors: number("descriptors"), Part: number("part"), Latest: number("latest"),
		Last: rapid.Uint64().Draw(t, "last"), Line: number("line"), Unsent: someLineMessages(t, "unsent"),
		Work: someLineMessages(t, "work"), Fixed: someNames(t, "fixed"), Claimed: someNames(t, "claimed"),
		Meets: few(t, "meets", func() Meeting { return Meeting{someName(t), number("to")} }), Over: someNames(t, "over"),
		Questions: someLineMessages(t, "questions"), NameTable: Place(number("name table")),
		Crew: few(t, "crew", func() Mate { return Mate{number("part")} }), Coming: someLineMessages(t, "coming"),
	}
}
