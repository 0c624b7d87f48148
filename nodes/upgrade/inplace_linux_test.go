package upgrade_test

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/sockdir"
)

// In place the node's peer notices nothing.
func TestInPlace(t *testing.T) {
	t.Parallel()
	r := begin(t, role+"_IN_PLACE=yes")
	first := r.pid()
	for i := range 3 {
		require.Equal(t, i+1, r.add(1))
		r.signal(first, syscall.SIGHUP)
		r.hears("ready")
		require.Equal(t, first, r.pid())
	}
	require.Equal(t, 4, r.add(1))
	require.NoError(t, r.c.Err())
}

// What it listens on beside stays.
func TestInPlaceListener(t *testing.T) {
	t.Parallel()
	path := sockdir.New(t) + "/probe"
	r := begin(t, role+"_IN_PLACE=yes", role+"_PROBE=unix:"+path)
	first := r.pid()
	waiting, err := net.Dial("unix", path)
	require.NoError(t, err)
	defer waiting.Close()
	r.signal(first, syscall.SIGHUP)
	r.hears("ready")
	require.Equal(t, first, r.pid())
}
