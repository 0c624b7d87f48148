package gate_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/gate"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/port"
)

const rabbit = "rabbit@127.0.0.1"

// RabbitMQ's own tool asks a broker through a gate, by the rules that it was seen to need; what
// these lack is refused.
func TestRabbitMQ(t *testing.T) {
	if testing.Short() {
		t.Skip("a broker takes half a minute to start")
	}
	bash, dir := otp.Neighbours(t), t.TempDir()
	outside, inside := otp.Epmd(t), otp.Epmd(t)
	command := func(ctx context.Context, cookie string, mapper int, script string, env ...string) *exec.Cmd {
		home := filepath.Join(dir, cookie)
		require.NoError(t, os.MkdirAll(home, 0o700))
		path := filepath.Join(home, ".erlang.cookie")
		if _, err := os.Stat(path); err != nil {
			require.NoError(t, os.WriteFile(path, []byte(cookie), 0o400))
		}
		cmd := exec.CommandContext(ctx, bash, "-c", script)
		cmd.Env = append(os.Environ(), "HOME="+home, "ERL_EPMD_PORT="+strconv.Itoa(mapper), "ERL_EPMD_ADDRESS=127.0.0.1",
			"RABBITMQ_NODENAME="+rabbit, "RABBITMQ_USE_LONGNAME=true", "RABBITMQ_CONF_ENV_FILE=/dev/null")
		cmd.Env = append(cmd.Env, env...)
		return cmd
	}
	otp.Serve(t, command(context.Background(), "inner", inside,
		"echo ready "+rabbit+" 0; exec </dev/null; exec /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server",
		"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1", "RABBITMQ_NODE_PORT="+strconv.Itoa(port.Free(t)),
		"RABBITMQ_DIST_PORT="+strconv.Itoa(port.Free(t)), "RABBITMQ_MNESIA_BASE="+dir, "RABBITMQ_LOG_BASE="+dir,
		"RABBITMQ_ENABLED_PLUGINS_FILE="+dir+"/plugins"))
	ctl := func(args string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		script := "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmqctl --longnames -n " + rabbit + " " + args
		said, err := command(ctx, "outer", outside, script).CombinedOutput()
		return string(said), err
	}
	cfg := &gate.Config{
		Outside: gate.Side{
			Listen: "127.0.0.1", PortMapper: fmt.Sprintf("127.0.0.1:%d", outside), Cookie: "outer", Names: []string{"rabbitmqcli*@*"},
		},
		Inside: gate.Side{PortMapper: fmt.Sprintf("127.0.0.1:%d", inside), Cookie: "inner", Nodes: []gate.Node{{Name: rabbit}}},
	}
	var mu sync.Mutex
	needed := map[gate.Rule]bool{}
	learning, err := gate.New(cfg, &gate.Options{Learn: true, OnDecision: func(d gate.Decision) {
		mu.Lock()
		defer mu.Unlock()
		needed[gate.Rule{Peer: "rabbitmqcli*@*", Op: d.Op, Target: d.Target, Allow: true}] = d.Op != 0 && !d.Allowed
	}})
	require.NoError(t, err)
	require.NoError(t, learning.Start(t.Context()))
	require.Eventually(t, func() bool { _, err := ctl("await_startup"); return err == nil }, 3*time.Minute, time.Second)
	said, err := ctl("list_queues")
	require.NoError(t, err, said)
	require.NoError(t, learning.Close())
	for rule, refused := range needed {
		if refused {
			t.Log(string(gate.AppendRule(nil, rule)))
			cfg.Rules = append(cfg.Rules, rule)
		}
	}
	g, err := gate.New(cfg, &gate.Options{Logger: otp.Log(t, "gate")})
	require.NoError(t, err)
	require.NoError(t, g.Start(t.Context()))
	defer func() { require.NoError(t, g.Close()) }()
	said, err = ctl("list_queues")
	require.NoError(t, err, said)
	require.Contains(t, said, "Listing queues")
	refused := g.Stats().Refused
	said, err = ctl("eval 'erlang:halt().'")
	require.Error(t, err, said)
	require.Greater(t, g.Stats().Refused, refused)
	said, err = ctl("list_queues")
	require.NoError(t, err, "the broker lives: %s", strings.TrimSpace(said))
}
