package bind10

import (
	"net"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/transport/handoff"
)

// The connection of another user's process is refused.
func TestAnotherUser(t *testing.T) {
	fdtest.NoLeak(t)
	name := "@" + t.Name() + strconv.Itoa(os.Getpid())
	l := expect.Open(net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})).In(t)
	var front net.Conn
	fdtest.AsNobody(t, func() (err error) {
		front, err = net.Dial("unix", name)
		return err
	})
	defer front.Close()
	conn := expect.Open(l.AcceptUnix()).In(t)
	cred := expect.NoError(handoff.PeerCred(conn)).In(t)
	require.Equal(t, 65534, cred.UID)
	_, err := NewReceiver(conn, nil)
	if os.Geteuid() == cred.UID {
		require.NoError(t, err)
	} else {
		require.ErrorIs(t, err, handoff.ErrForbidden)
	}
	r, err := NewReceiver(conn, &ReceiverOptions{Peer: func(handoff.Cred) error { return nil }})
	require.NoError(t, err, "unless he may")
	require.NoError(t, r.Close())
}
