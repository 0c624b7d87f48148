package nodes

// An aftermath is what is told of the end of a connection, or of a way to another worker, when it is off the table and the next one can
// come up: whatever runs Handlers, for these may speak to the node again.
type aftermath struct{ tells []func() }

// notify puts a signal's message into a mailbox now; a Handler gets it afterwards.
func (a *aftermath) notify(b *Mailbox, m *Message) {
	if b.handler == nil {
		b.notify(m)
		return
	}
	a.tells = append(a.tells, func() { b.notify(m) })
}

// departed tells of the end of a process now, but those of this node, who hear of it afterwards.
func (a *aftermath) departed(b *Mailbox, words map[extent]*parting) {
	if here, _ := sayElsewhere(words, extent{}); here != nil {
		a.tells = append(a.tells, func() { here.sayNow() })
	}
}

func (a *aftermath) tell() {
	for _, tell := range a.tells {
		tell()
	}
}
