package nodes

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/dist"
)

// Every line of a node's log says of which node it is, once; that of a dynamic one as soon as it
// has a name.
func TestLogNamesTheNode(t *testing.T) {
	w := newWorld(t, "memory")
	var log record
	logs := func(cfg *Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	w.started("bob", logs)
	d := w.node("", logs)
	early := d.Logger().With("a", 1)
	early.Info("early")
	require.Equal(t, []string{`level=INFO msg=early a=1`}, untimed(log.Lines("early")))
	connect(t, d, "bob@test")
	require.NotEmpty(t, log.Lines("node up", "node="+d.Name(), "peer=bob@test"))
	require.Eventually(t, func() bool { return len(log.Lines("node up", "node=bob@test", "peer="+d.Name())) == 1 }, tooLong, tick)
	early.Info("late")
	d.Logger().WithGroup("g").Info("grouped", "b", 2)
	require.Equal(t, []string{`level=INFO msg=late a=1 node=` + d.Name()}, untimed(log.Lines("late")))
	require.Equal(t, []string{`level=INFO msg=grouped node=` + d.Name() + ` g.b=2`}, untimed(log.Lines("grouped")))
	for _, line := range log.Lines("=") {
		require.LessOrEqual(t, strings.Count(line, "node="), 1, line)
	}
}

func untimed(lines []string) (rest []string) {
	for _, line := range lines {
		_, line, _ = strings.Cut(line, " ")
		rest = append(rest, strings.TrimSpace(line))
	}
	return rest
}

// A C node of libei, an erl_call, may have a name of either kind.
func TestLongNamesOfCNodes(t *testing.T) {
	w := newWorld(t, "memory")
	var log record
	a := w.started("a", func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	b := w.node("", func(cfg *Config) {
		cfg.Name, cfg.Host, cfg.Flags = "b@long.test", "", dist.FlagsLibei
	})
	connect(t, b, a.Name())
	require.Eventually(t, func() bool { return len(log.Lines("node up")) == 1 }, tooLong, tick)
	require.NoError(t, a.Close())
	require.Empty(t, log.Lines("name is long", "WARN"))
}

// That names are long and short is said once for all the peers that come within a minute: each may
// have a name of its own.
func TestLongNamesAreToldOnce(t *testing.T) {
	w := newWorld(t, "memory")
	var log record
	a := w.started("a", func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	for i := range 3 {
		b := w.node("", func(cfg *Config) {
			cfg.Name, cfg.Host = fmt.Sprintf("b%d@long.test", i), ""
		})
		c := connect(t, b, a.Name())
		require.NoError(t, c.Close())
	}
	require.Eventually(t, func() bool { return len(log.Lines("node up")) == 3 }, tooLong, tick)
	require.NoError(t, a.Close()) // what it says of a peer comes after "node up"
	require.Len(t, log.Lines("name is long", "WARN"), 1)
}
