package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/pg"
	"github.com/cnode-go/cnode/nodes/pubsub"
	"github.com/spf13/pflag"
)

// publishing are the flags by which serve takes part in a Phoenix.PubSub.
type publishing struct {
	name  string
	topic string
}

func (p *publishing) addTo(f *pflag.FlagSet) {
	f.StringVar(&p.name, "pubsub", "",
		"take part in the Phoenix.PubSub `NAME`, MyApp.PubSub for example: {publish, T, M} to the process peer\n"+
			"broadcasts M on the topic T, a binary")
	f.StringVar(&p.topic, "topic", "", "subscribe to `T` of the --pubsub, and print \"pubsub T TERM\" for each message")
}

func (p *publishing) check() error {
	if p.topic != "" && p.name == "" {
		return cli.Usagef("--topic is for --pubsub")
	}
	return nil
}

// subscriberName is the process that prints what is broadcast. It has a name so that it goes on,
// with what it has not printed yet, in a process that takes over.
const subscriberName = "pubsub_subscriber"

// start makes the node a member; nil if it is to be none.
func (p publishing) start(ctx context.Context, n *nodes.Node, out io.Writer) (*pubsub.PubSub, error) {
	if p.name == "" {
		return nil, nil
	}
	scope, err := pg.Start(ctx, n, pubsub.Scope, nil)
	if err != nil {
		return nil, err
	}
	ps, err := pubsub.Start(ctx, n, p.name, &pubsub.Options{Scope: scope})
	if err != nil || p.topic == "" {
		return ps, err
	}
	// each worker gets what is broadcast: one of them prints it
	group := ei.Atom("Elixir." + strings.TrimPrefix(p.name, "Elixir.") + ".Adapter")
	isFirst := func() bool {
		own := n.Whereis(string(group))
		for pid := range scope.Members(group) {
			if own != nil && pid.Node == own.Pid().Node && pid.Compare(own.Pid()) < 0 {
				return false
			}
		}
		return true
	}
	b, err := n.Handle(subscriberName, func(_ *nodes.Mailbox, m *nodes.Message) {
		defer m.Release()
		if t, err := m.Term(); err == nil && isFirst() {
			fmt.Fprintf(out, "pubsub %s %s\n", p.topic, t)
		}
	}, &nodes.MailboxOptions{TrapExit: true})
	if err != nil {
		return nil, err
	}
	return ps, ps.Subscribe(b, p.topic)
}

var errNoPubSub = errors.New("{publish, Topic, Message} is for serve --pubsub")

// parsePublish reads the rest of {publish, Topic, Message}.
func parsePublish(c *ei.Cursor, r *request) (err error) {
	r.verb = publish
	topic, err := c.Binary()
	if err != nil {
		return err
	}
	r.topic = string(topic)
	r.term, err = c.Raw()
	return err
}

// publish broadcasts what a client has asked for. Other nodes must not end their connections with
// this one over it.
func (p *peer) publish(ctx context.Context, topic string, term ei.Raw) error {
	if p.pubsub == nil {
		return errNoPubSub
	}
	t, err := ei.DecodeOptions{Strict: true}.Decode(term)
	if err != nil {
		return err
	}
	return p.pubsub.Broadcast(ctx, topic, t)
}
