package pg

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/pg"
)

// Of an Erlang node with more groups than Options.Limit allows, some are seen, and an error says
// so; once it has fewer, because processes have left or ended, all are. Its scope stays.
func leftOut(t *testing.T, erl *otp.Node) {
	const many, few = 6000, 1000
	scope := scopeOf(t, erl)
	var s *pg.Scope
	cfg := goConfig(t, erl.EpmdPort(), false)
	cfg.Setup = func(n *nodes.Node) (err error) {
		s, err = pg.Start(t.Context(), n, "", &pg.Options{Limit: 1 << 20})
		return err
	}
	n := gonode.Start(t, cfg)
	fill := func(from int) {
		t.Helper()
		require.Equal(t, "ok", erl.Do(t, fmt.Sprintf(
			`P = spawn(fun() -> receive stop -> ok end end), catch unregister(big), register(big, P),
			[ok = pg:join({room, I}, P) || I <- lists:seq(%d, %d)], ok`, from, many)))
	}
	erl.Do(t, fmt.Sprintf(`Q = spawn(fun() -> receive stop -> ok end end), register(small, Q),
		[ok = pg:join({room, I}, Q) || I <- lists:seq(1, %d)], ok`, few))
	fill(few + 1)
	connect(t, n, erl)
	count := func() int { return len(slices.Collect(s.Groups())) }
	partly := func() {
		t.Helper()
		require.Eventually(t, func() bool { return s.Incomplete() != nil }, limit, time.Millisecond)
		require.ErrorIs(t, s.Incomplete(), pg.ErrIncomplete)
		require.ErrorContains(t, s.Incomplete(), erl.Name())
		require.Greater(t, count(), 2000)
		require.Less(t, count(), 1<<20/256)
	}
	whole := func(want int) {
		t.Helper()
		require.Eventually(t, func() bool { return s.Incomplete() == nil && count() == want }, limit, time.Millisecond)
		require.Zero(t, s.Stats().Incomplete)
		require.Positive(t, s.Stats().LeftOut)
	}
	partly()
	stop(t, erl, "big")
	whole(few)
	fill(few + 1)
	partly()
	erl.Do(t, fmt.Sprintf(`[ok = pg:leave({room, I}, whereis(big)) || I <- lists:seq(%d, %d)], ok`, few+101, many))
	whole(few + 100)
	require.Equal(t, scope, scopeOf(t, erl), "the scope of the Erlang node has not ended")
}
