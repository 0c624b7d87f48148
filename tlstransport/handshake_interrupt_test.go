package tlstransport

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// An Interrupt does not end the handshake, which has its own time: neither one that comes too late
// for the Connect, nor one beside the handshake.
func TestInterruptBeforeTheHandshake(t *testing.T) {
	w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{})
	c := expect.NoError(w.cb.Socket(nil, w.at)).In(t)
	w.cb.Interrupt(c)
	require.NoError(t, w.cb.Connect(c, w.at, tooLong))
	for range 100 {
		w.cb.Interrupt(c)
		time.Sleep(10 * time.Microsecond)
	}
	s := w.accept()
	exchange(t, ours{c}, ours{s}, 1000)
}
