package neighbours

import (
	"strconv"
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/test/port"
	"github.com/stretchr/testify/require"
)

const rabbit = "rabbit@127.0.0.1"

// A RabbitMQ broker is asked and told things, calls Go, and is seen to end.
func TestRabbitMQ(t *testing.T) {
	w := newWorld(t)
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

	// The broker ends: first the supervisor, then the node.
	box, err := w.n.NewMailbox(nil)
	require.NoError(t, err)
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
