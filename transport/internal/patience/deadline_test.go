package patience

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// A deadline that is moved before it has passed ends nothing; one that has passed ends the
// operations under it for good, and moving it is for those to come.
func TestDeadlineMoves(t *testing.T) {
	var d Deadline
	first := d.Context()
	d.Set(time.Now().Add(time.Hour))
	require.Same(t, first, d.Context())
	require.InDelta(t, time.Hour, TimeLeft(first), float64(time.Minute))
	d.Set(time.Time{})
	require.NoError(t, first.Err())
	require.Equal(t, Infinite, TimeLeft(first))

	d.Set(time.Now().Add(time.Millisecond))
	expect.Returns(t, first.Done())
	require.Equal(t, context.DeadlineExceeded, first.Err())
	require.Same(t, first, d.Context())
	d.Set(time.Time{})
	require.Error(t, first.Err())
	require.NoError(t, d.Context().Err())
	d.Set(time.Unix(1, 0))
	require.Error(t, d.Context().Err())
}

// Whatever is to run when a deadline passes runs then, or at once, unless it is stopped; what is
// stopped is not kept.
func TestDeadlineRuns(t *testing.T) {
	var d Deadline
	ctx := d.Context()
	e := ctx.(*until)
	ran := make(chan string, 3)
	stop := context.AfterFunc(ctx, func() { ran <- "stopped" })
	require.Len(t, e.funcs, 1)
	require.True(t, stop())
	require.False(t, stop())
	require.Empty(t, e.funcs)
	late := context.AfterFunc(ctx, func() { ran <- "in time" })
	d.Set(time.Unix(1, 0))
	require.Equal(t, "in time", expect.Returns(t, ran))
	require.False(t, late())
	require.False(t, context.AfterFunc(ctx, func() { ran <- "too late" })())
	require.Equal(t, "too late", expect.Returns(t, ran))
	require.Empty(t, ran)
}
