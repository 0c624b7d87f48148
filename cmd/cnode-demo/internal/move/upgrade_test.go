package move

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// When a service is stopped its main process hears of that first. What the upgrade answers then is
// no failure, since this command is about to be told to end, too.
func TestUnlessStopped(t *testing.T) {
	require.Equal(t, io.EOF, unlessStopped(t.Context(), io.EOF))
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(signalTime/10, cancel)
	err := unlessStopped(ctx, io.EOF)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, io.EOF)
}
