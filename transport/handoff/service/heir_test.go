package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A startable is a node that has been handed over, and is ready to start.
type startable struct{ err error }

func (s startable) Start(context.Context) error { return s.err }
func (s startable) Discard() error              { return nil }

func logging(to io.Writer) *Service {
	return &Service{Logger: slog.New(slog.NewTextHandler(to, nil))}
}

// A service manager that sees its main process end must know the next one by then: it is told
// before the old process learns that it may end.
func TestManagerKnowsTheHeir(t *testing.T) {
	for _, failed := range []error{nil, errors.New("not all of it")} {
		at := &net.UnixAddr{Net: "unixgram", Name: filepath.Join(sockdir.New(t), "notify")}
		manager := expect.Open(net.ListenUnixgram("unixgram", at)).In(t)
		under(t, at.Name)
		var log strings.Builder
		h := &heir{staged: startable{failed}, s: logging(&log)}
		require.ErrorIs(t, h.Start(t.Context()), failed)
		require.NoError(t, manager.SetReadDeadline(time.Now().Add(time.Minute)))
		said := make([]byte, 100)
		n := expect.NoError(manager.Read(said)).In(t)
		require.Equal(t, fmt.Sprintf("READY=1\nMAINPID=%d\n", os.Getpid()), string(said[:n]))
		require.Empty(t, log.String())
	}
}

// If the manager cannot be told, that is reported: it would otherwise end the service without a
// visible reason.
func TestManagerThatIsNotThere(t *testing.T) {
	at := filepath.Join(sockdir.New(t), "notify")
	under(t, at)
	var log strings.Builder
	logging(&log).ready()
	require.Contains(t, log.String(), "(NOTIFY_SOCKET)")
	require.Contains(t, log.String(), "dial unixgram "+at)
}

// A still is a handoff.Frozen with a state, and nothing else.
type still struct{ state []byte }

func (s *still) State() []byte    { return s.state }
func (*still) Descriptors() []int { return nil }
func (*still) Thaw()              {}
func (*still) Release() error     { return nil }

// The copy of a state that an Upgrader makes holds no keys once the hand-off is over, by Thaw or by
// Release.
func TestEstateForgets(t *testing.T) {
	for name, end := range map[string]func(handoff.Frozen) error{
		"thawed":   func(f handoff.Frozen) error { f.Thaw(); return nil },
		"released": handoff.Frozen.Release,
	} {
		f := expect.NoError(bequeath(&still{[]byte("secret")}, nil)).In(t)
		state := f.State()
		require.Contains(t, string(state), "secret", name)
		require.NoError(t, end(f))
		require.Equal(t, make([]byte, len(state)), state, name)
	}
}
