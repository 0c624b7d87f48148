package nodes

import "slices"

// maxUnread bounds the messages that a Call has read for other receivers and that nobody has
// received; their memory has the default limit of a mailbox.
const maxUnread = 10_000

// A backlog holds messages that were read but not dealt with: a Call read them for other receivers,
// or they were to be passed on when the reader stopped.
type backlog struct {
	messages []*Message // oldest first
	bytes    int
}

func (u *backlog) add(m *Message) {
	u.messages = append(u.messages, m)
	u.bytes += cost(m)
}

// putBack makes m the first message again.
func (u *backlog) putBack(m *Message) {
	u.messages = slices.Insert(u.messages, 0, m)
	u.bytes += cost(m)
}

func (u *backlog) take() *Message {
	m := u.messages[0]
	u.messages[0], u.messages = nil, u.messages[1:]
	u.bytes -= cost(m)
	return m
}

func (u *backlog) len() int { return len(u.messages) }

func (u *backlog) isFull() bool {
	return len(u.messages) >= maxUnread || u.bytes >= DefaultMailboxLimit
}
