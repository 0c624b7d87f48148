//go:build unix

package nodes

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// What a mailbox has of its own goes on in the one that is registered in its place, and with a
// mailbox that nobody takes over.
func TestMailboxHandover(t *testing.T) {
	for _, kind := range movers {
		w := newWorld(t, kind)
		var found []string
		state, fails, registers := "first", error(nil), true
		n := w.started("front", func(cfg *Config) {
			cfg.Setup = func(n *Node) error {
				if !registers {
					return nil
				}
				b, err := n.Handle("b", func(*Mailbox, *Message) {}, &MailboxOptions{
					Handover: func() ([]byte, error) { return []byte(state), fails },
				})
				if err == nil {
					inherited, ok := b.Inherited()
					found = append(found, string(inherited))
					require.Equal(t, len(found) > 1, ok)
				}
				return err
			}
		})
		fails = errors.New("not now")
		_, err := n.Freeze(w.ctx())
		require.ErrorIs(t, err, fails)
		require.ErrorContains(t, err, "not now")
		fails = nil
		n = upgrade(t, n)
		require.Equal(t, []string{"", "first"}, found)

		state, registers = "second", false
		n = upgrade(t, n) // nobody takes over
		registers = true
		n = upgrade(t, n)
		require.Equal(t, []string{"", "first", "second"}, found)
		require.NoError(t, n.Close())
	}
}

// A label goes on in the mailbox that is registered in the process's place, unless that has one.
func TestLabelMoves(t *testing.T) {
	w := newWorld(t, movers[0])
	label := any("first")
	n := w.started("front", func(cfg *Config) {
		cfg.Setup = func(n *Node) error {
			b, err := n.Handle("b", func(*Mailbox, *Message) {}, nil)
			if err == nil && label != nil {
				err = b.SetLabel(label)
			}
			return err
		}
	})
	for _, next := range []any{nil, nil, "second"} {
		want := ei.Term(ei.Binary("first"))
		if label = next; next != nil {
			want = ei.Binary("second")
		}
		n = upgrade(t, n)
		require.Equal(t, want, n.Whereis("b").Label())
	}
	require.NoError(t, n.Close())
}
