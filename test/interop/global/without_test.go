package global

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// A counting counts the lines of a log that have a text.
type counting struct {
	slog.Handler
	text  string
	count *atomic.Int32
}

func (h counting) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, h.text) {
		h.count.Add(1)
	}
	return h.Handler.Handle(ctx, r)
}

func (h counting) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.Handler = h.Handler.WithAttrs(attrs)
	return h
}

// A node that others synchronise with, and that does not take part in global, says so in its log,
// once, whoever connects.
func TestWithoutGlobal(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		one, two := r.Start(t, otp.Options{EpmdPort: port}), r.Start(t, otp.Options{EpmdPort: port})
		for _, visible := range []bool{false, true} {
			cfg, warnings := config(t, uniqueName("w"), port), new(atomic.Int32)
			cfg.Visible, cfg.Logger = visible, slog.New(counting{cfg.Logger.Handler(), "does not run nodes/global", warnings})
			n := gonode.Start(t, cfg)
			require.Equal(t, "true", one.Eval(t, fmt.Sprintf("net_kernel:connect_node('%s')", n.Name())))
			_, err := n.Connect(within(t), two.Name())
			require.NoError(t, err)
			if visible {
				eventually(t, func() bool { return warnings.Load() > 0 })
				require.Equal(t, "[]", one.Eval(t, "gen_server:call(global_name_server, get_synced)"), "global:sync() waits")
			}
			for _, e := range []*otp.Node{one, two} { // what comes after what global has sent has arrived
				require.Equal(t, "pong", e.Eval(t, fmt.Sprintf("net_adm:ping('%s')", n.Name())))
			}
			want := 0
			if visible {
				want = 1
			}
			require.EqualValues(t, want, warnings.Load())
		}
	})
}
