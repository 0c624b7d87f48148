package link

import (
	"fmt"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// FirstTerm is the first encoded term of raw, without what may follow it; the error says what is
// wrong with the term.
func FirstTerm(raw ei.Raw) (ei.Raw, error) {
	c := ei.NewCursor(raw)
	return c.Raw()
}

// ToAlias tells whether the control message, of a plain operation, is for an alias: Ref.
func ToAlias(ctl *dist.Control) bool {
	return ctl.Op == dist.OpAliasSend || ctl.Op == dist.OpExit2 && ctl.Ref.Len > 0
}

// Recipient names the recipient of a message, for people to read.
func Recipient(ctl *dist.Control) string {
	switch {
	case ctl.ToName != "":
		return ctl.ToName.String()
	case ToAlias(ctl):
		return ctl.Ref.String()
	}
	return ctl.To.String()
}

// RawFault tells what is wrong with a term of the program's that is an ei.Raw, or a tuple with one,
// which package ei appends unchecked. One inside of other terms and Go values is not looked for:
// that would cost each send.
func RawFault(term any, encoded ei.Raw) error {
	if !holdsRaw(term) {
		return nil
	}
	first, err := FirstTerm(encoded)
	if err == nil && len(first) < len(encoded) {
		err = fmt.Errorf("%d bytes after the term", len(encoded)-len(first))
	}
	return err
}

func holdsRaw(term any) bool {
	switch t := term.(type) {
	case ei.Raw:
		return true
	case ei.Tuple:
		for _, e := range t {
			if holdsRaw(e) {
				return true
			}
		}
	}
	return false
}
