//go:build unix

package upgrade

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"strconv"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport/handoff"
)

// The test program started again is a process that gives and takes. The environment tells it what;
// the channel has number 3.
const (
	// owner, heir: of a node; link: see playLink
	sideVariable  = "UPGRADE_TEST_SIDE"
	countVariable = "UPGRADE_TEST_COUNT"
	sideName      = "mover@127.0.0.1"
	sideCookie    = "cookie"
	sideCreation  = 4711
)

// A word is a line that a process prints.
type word struct {
	Addr    string        `json:",omitempty"`
	Silence time.Duration `json:",omitempty"`
	State   int           `json:",omitempty"` // bytes
	Err     string        `json:",omitempty"`
}

func say(w word) { _ = json.NewEncoder(os.Stdout).Encode(w) }

func runSide(side string) int {
	count, _ := strconv.Atoi(os.Getenv(countVariable))
	ch, err := handoff.FileChannel(os.NewFile(3, "channel"))
	if err == nil {
		err = play(side, count, ch)
	}
	if err != nil {
		say(word{Err: err.Error()})
		return 1
	}
	return 0
}

func sideConfig(mailboxes int) nodes.Config {
	return nodes.Config{
		Name: sideName, Cookie: sideCookie, Creation: sideCreation, Resolver: nodes.Static{},
		Setup: func(n *nodes.Node) error {
			if _, err := n.Handle("echo", echo, nil); err != nil {
				return err
			}
			for i := range mailboxes {
				b, err := n.NewMailbox(nil)
				if err == nil {
					err = n.Register(context.Background(), "box"+strconv.Itoa(i), b)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// echo answers {From, I} with I, on the connection's own goroutine: so it is done, or has not
// begun, when the connection stands still.
func echo(self *nodes.Mailbox, m *nodes.Message) {
	defer m.Release()
	t, err := m.Term()
	if pair, ok := t.(ei.Tuple); ok && err == nil && len(pair) == 2 {
		if from, ok := pair[0].(ei.Pid); ok {
			// a lost answer is noticed at the other end
			_ = self.Send(context.Background(), from, pair[1])
		}
	}
}

// play is a process's whole part. It goes on until its standard input ends.
func play(side string, count int, ch *handoff.Channel) error {
	ctx := context.Background()
	in := bufio.NewScanner(os.Stdin)
	switch side {
	case "owner":
		n, err := nodes.New(sideConfig(count))
		if err == nil {
			err = n.Start(ctx)
		}
		if err != nil {
			return err
		}
		say(word{Addr: n.Listeners()[0].Addr().String()})
		in.Scan() // "go"
		var f *nodes.Frozen
		h, err := (&handoff.Offer{Freeze: func(ctx context.Context) (_ handoff.Frozen, err error) {
			f, err = n.Freeze(ctx)
			return f, err
		}}).Give(ctx, ch)
		if err != nil {
			return err
		}
		say(word{Silence: h.Silence, State: len(f.State())})
		return nil
	case "heir":
		_, err := (&handoff.Acceptance{Stage: func(_ context.Context, state []byte, fds []int) (handoff.Staged, error) {
			return nodes.Restore(sideConfig(count), state, fds)
		}}).Take(ctx, ch)
		if err != nil {
			return err
		}
		say(word{})
	case "link":
		return playLink(ctx, count > 0, ch, in)
	}
	in.Scan()
	return nil
}
