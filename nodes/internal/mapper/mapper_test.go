package mapper

import (
	"bytes"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/transport"
)

// If the port mapper in this process fails, the log says so: nothing else in the node shows it.
func TestServerThatFailsIsLogged(t *testing.T) {
	broken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, broken.Close())
	whole, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var log record
	var e Entry
	e.serve(&epmd.Server{Logger: slog.New(slog.NewTextHandler(&log, nil))}, []net.Listener{broken, whole})
	require.Eventually(t, func() bool {
		return bytes.Contains(log.bytes(), []byte("does not listen any more")) && bytes.Contains(log.bytes(), []byte(broken.Addr().String()))
	}, expect.Limit, time.Millisecond)
	said := log.bytes()
	require.NoError(t, e.closeServer())
	require.Equal(t, said, log.bytes(), "a server that is closed is no error")
}

// If the embedded port mapper cannot be frozen the registration goes on.
func TestFreezeFailsAtServer(t *testing.T) {
	at, err := transport.ParseAddr("127.0.0.1:5")
	require.NoError(t, err)
	m := &Mapper{Client: &epmd.Client{Addr: port.Vacant(t)}, Embed: true, Node: at}
	e, err := m.Keep(t.Context(), epmd.Registration{Name: "alice", Port: 5})
	require.NoError(t, err)
	defer e.Close()
	server, err := e.server.Freeze(t.Context())
	require.NoError(t, err)
	_, err = e.Freeze(t.Context())
	require.ErrorContains(t, err, "frozen already")
	server.Thaw()
	f, err := e.Freeze(t.Context())
	require.NoError(t, err, "nothing of it still stands")
	f.Thaw()
}

// A record is a log that tests read while it is written.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *record) bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.b.Bytes())
}
