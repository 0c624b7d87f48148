package nodes

// An aftermath collects the notifications about the end of a connection, or of a way to another worker, that run Handlers. They are
// delivered once the connection is off the table and the next one can come up, since a Handler may send to the same node again.
type aftermath struct{ tells []func() }

// notify puts a signal's message into a mailbox now; if the process is a Handler, the message is kept until tell.
func (a *aftermath) notify(b *Mailbox, m *Message) {
	if b.handler == nil {
		b.notify(m)
		return
	}
	a.tells = append(a.tells, func() { b.notify(m) })
}

// departed tells other nodes and workers of the end of a process now; processes of this node are told by tell.
func (a *aftermath) departed(words map[extent]*exitNotice) {
	if here, _ := sayElsewhere(words, extent{}); here != nil {
		a.tells = append(a.tells, func() { here.sayNow() })
	}
}

func (a *aftermath) tell() {
	for _, tell := range a.tells {
		tell()
	}
}
