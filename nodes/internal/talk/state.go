package talk

import (
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/states"
)

// Messages and lines as parts of states.

// Describe describes messages, which keep their descriptors.
func Describe[M Message](t *descriptor.Table, list []M) (all []states.LineMessage, err error) {
	for _, m := range list {
		b, err := Marshal(m)
		if err != nil {
			return nil, err
		}
		s := states.LineMessage{JSON: b}
		if fd := Descriptor(m); fd > 0 {
			s.Descriptor = states.At(t.Add(fd))
		}
		all = append(all, s)
	}
	return all, nil
}

// Take makes messages from their description. On failure the descriptors of messages that
// were already made are closed.
func Take[M Message](l *descriptor.List, all []states.LineMessage) (list []M, err error) {
	for i := range all {
		fd := 0
		if at := all[i].Descriptor.Index(); at >= 0 {
			fd, err = l.TakeOne(at)
		}
		var m Message
		if err == nil {
			if m, err = Parse(all[i].JSON, fd); err != nil {
				err = &form.Error{Path: "message", Err: fmt.Errorf("%w: %w", form.ErrMalformed, err)}
			}
		}
		its, ok := m.(M)
		if err == nil && !ok {
			Drop(m)
			err = &form.Error{Path: "message", Err: fmt.Errorf("%w: %T is out of place", form.ErrMalformed, m)}
		}
		if err != nil {
			DropAll(list)
			return nil, err
		}
		list = append(list, its)
	}
	return list, nil
}

// TakeLine makes a line from its description; the line stands still until Resume.
func TakeLine(list *descriptor.List, at int, waits []states.LineMessage) (*Line, error) {
	fd, err := list.TakeOne(at)
	if err != nil {
		return nil, err
	}
	socket, err := descriptor.Conn(fd)
	if err != nil {
		return nil, err
	}
	waiting, err := Take[Message](list, waits)
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	l, err := Staged(socket, waiting)
	if err != nil {
		DropAll(waiting)
		return nil, errors.Join(err, socket.Close())
	}
	return l, nil
}
