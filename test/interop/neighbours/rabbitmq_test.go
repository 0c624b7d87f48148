package neighbours

import (
	"context"
	"strconv"
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/stretchr/testify/require"
)

const rabbit = "rabbit@127.0.0.1"

// A RabbitMQ broker is asked and told things, calls Go, and is seen to end.
func TestRabbitMQ(t *testing.T) {
	w := newPlace(t)
	w.serve(rabbit, "rabbit", "is_serving", `printf %s "$COOKIE" >"$DIR/.erlang.cookie"; chmod 400 "$DIR/.erlang.cookie"
		exec /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server`,
		"RABBITMQ_NODENAME="+rabbit, "RABBITMQ_USE_LONGNAME=true", "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
		"RABBITMQ_NODE_PORT="+strconv.Itoa(port.Free(t)), "RABBITMQ_DIST_PORT="+strconv.Itoa(port.Free(t)),
		"RABBITMQ_MNESIA_BASE="+w.dir, "RABBITMQ_LOG_BASE="+w.dir,
		"RABBITMQ_ENABLED_PLUGINS_FILE="+w.dir+"/plugins", "RABBITMQ_CONF_ENV_FILE=/dev/null")

	w.gives("['"+rabbit+"']", rabbit, "rabbit_nodes", "list_running", "[]")
	queue, err := w.call(rabbit, "rabbit_amqqueue", "declare", `[{resource,<<"/">>,queue,<<"from-go">>},true,false,[],none,<<"go">>]`)
	require.NoError(t, err)
	require.Equal(t, ei.Atom("new"), queue.(ei.Tuple)[0])
	w.gives(`[{resource,<<"/">>,queue,<<"from-go">>}]`, rabbit, "rabbit_amqqueue", "list_names", "[]")
	w.gives(`<<"QUEUE">>`, rabbit, "rpc", "call", "['"+w.n.Name()+`',go,upper,[<<"queue">>]]`)
	w.n.Expose("net_kernel", "get_net_ticktime", func(context.Context, []ei.Term) (any, error) { return ei.Atom("ignored"), nil })
	w.gives(`<<"QUEUE">>`, rabbit, "rabbit_misc", "rpc_call", "['"+w.n.Name()+`',go,upper,[<<"queue">>],10000]`)

	box, err := w.n.NewMailbox(nil)
	require.NoError(t, err)

	// As rabbitmqctl list_queues asks: what is found comes as messages.
	tag, err := w.n.NewRef()
	require.NoError(t, err)
	_, err = w.n.RPC(w.soon(), rabbit, "rabbit_amqqueue", "emit_info_all",
		ei.List{ei.Atom(rabbit)}, ei.Binary("/"), ei.List{ei.Atom("messages")}, tag, box.Pid())
	require.NoError(t, err)
	for _, want := range []ei.Term{
		ei.Tuple{tag, ei.List{ei.Tuple{ei.Atom("messages"), ei.Int(0)}}, ei.Atom("continue")},
		ei.Tuple{tag, ei.Atom("finished")},
	} {
		m, err := box.Receive(w.soon())
		require.NoError(t, err)
		term, err := m.Term()
		require.NoError(t, err)
		require.Equal(t, want, term)
	}

	// The broker ends: first the supervisor, then the node.
	ref, err := box.MonitorName(w.soon(), rabbit, "rabbit_sup")
	require.NoError(t, err)
	w.gives("ok", rabbit, "application", "stop", "[rabbit]")
	down, err := box.Receive(w.soon())
	require.NoError(t, err)
	require.Equal(t, ref, down.Ref)
	require.NoError(t, box.MonitorNode(w.soon(), rabbit))
	w.gives("ok", rabbit, "init", "stop", "[]")
	last, err := box.Receive(w.soon())
	require.NoError(t, err)
	term, err := last.Term()
	require.NoError(t, err)
	require.Equal(t, ei.Tuple{ei.Atom("nodedown"), ei.Atom(rabbit)}, term)
}
