package transport

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

func TestNewNamesMissingFields(t *testing.T) {
	mandatory := []string{"Socket", "Close", "Listen", "Accept", "Connect", "Read", "Write", "HandshakePacketHeaderSize", "GetFD"}
	for _, name := range mandatory {
		cb := memoryCallbacks()
		f := reflect.ValueOf(&cb).Elem().FieldByName(name)
		f.Set(reflect.Zero(f.Type()))
		tr, err := New(cb, nil)
		require.Nil(t, tr, name)
		require.ErrorContains(t, err, "Callbacks."+name+" ")
		for _, other := range mandatory {
			if other != name {
				require.NotContains(t, err.Error(), "Callbacks."+other+" ")
			}
		}
	}
	_, err := New(Callbacks[int]{}, nil)
	for _, name := range mandatory {
		require.ErrorContains(t, err, "Callbacks."+name+" ", "all of them are named")
	}
}

func TestNewOptionalFields(t *testing.T) {
	cb := memoryCallbacks()
	v := reflect.ValueOf(&cb).Elem()
	for _, name := range []string{"Writev", "ConnectHandshakeComplete", "AcceptHandshakeComplete", "CloseWrite", "Pending", "LocalAddr",
		"CheckPeer", "Interrupt", "InterruptOne", "Abort", "Export", "Import", "Release"} {
		f := v.FieldByName(name)
		require.True(t, f.IsValid(), name)
		f.Set(reflect.Zero(f.Type()))
	}
	tr := expect.NoError(New(cb, nil)).In(t)
	require.False(t, tr.Movable())
	c, s := pair(t, tr, MemoryAddr(""))
	require.NoError(t, expect.Err(c.Writev(soon(t), []byte("bare"), []byte(" bones"))))
	require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, 10))))
	require.Nil(t, c.LocalAddr())
	require.ErrorIs(t, c.CloseWrite(), errors.ErrUnsupported)
	require.ErrorIs(t, expect.Err2(c.Export()), errors.ErrUnsupported)
	require.Zero(t, expect.NoError(c.PendingBytes()).In(t))
	require.NoError(t, c.HandshakeComplete(soon(t), true))
	require.NoError(t, c.CheckPeer(soon(t), "n@h"))
	require.ErrorIs(t, expect.Err(c.SyscallConn()), errors.ErrUnsupported)
	require.ErrorIs(t, expect.Err(c.Descriptor()), errors.ErrUnsupported)
	require.ErrorIs(t, expect.Err(tr.Import(0, nil)), errors.ErrUnsupported)
	require.ErrorIs(t, expect.Err(tr.ImportListener(0)), errors.ErrUnsupported)
	require.NoError(t, c.Release(), "nil means Close")
	require.NoError(t, s.Close())
}

func TestNewFlags(t *testing.T) {
	cb := memoryCallbacks()
	cb.Flags |= 1 << 5
	require.ErrorContains(t, expect.Err(New(cb, nil)), "0x20")

	cb = memoryCallbacks()
	cb.Flags = 0
	_, err := New(cb, nil)
	require.ErrorContains(t, err, "Interrupt")
	require.ErrorContains(t, err, "FullImpl")
}

// Setup reaches Socket and Import as it was given.
func TestNewSetup(t *testing.T) {
	type setup struct{ n int }
	var got []any
	cb := memoryCallbacks()
	socket := cb.Socket
	cb.Socket = func(setup any, addr Addr) (*memorySocket, error) {
		got = append(got, setup, addr)
		return socket(setup, addr)
	}
	imported := errors.New("imported")
	cb.Import = func(setup any, fd int, state []byte) (*memorySocket, error) {
		got = append(got, setup)
		return nil, imported
	}
	want := &setup{1}
	tr := expect.NoError(New(cb, want)).In(t)
	require.Error(t, expect.Err(tr.Connect(context.Background(), MemoryAddr("nobody"))))
	require.True(t, tr.Movable())
	require.ErrorIs(t, expect.Err(tr.Import(0, []byte("state"))), imported)
	require.Equal(t, []any{want, MemoryAddr("nobody"), want}, got)
	require.Same(t, want, got[0])
}

// A callback that was changed after New does not change the transport.
func TestNewCopies(t *testing.T) {
	cb := memoryCallbacks()
	tr := expect.NoError(New(cb, nil)).In(t)
	cb.Socket = nil
	pair(t, tr, MemoryAddr(""))
}

// Programs tell plug-ins apart by their names, which are the same on all systems.
func TestPluginNames(t *testing.T) {
	require.Equal(t, "tcp", TCP().Name())
	require.Equal(t, "unix", Unix().Name())
	require.Equal(t, "memory", NewMemory().Name())
	require.Equal(t, "net", FromNet(Net{}).Name())
}

// around is a wrapper of another package.
type around struct{ Transport }

func (a around) WithPolling(limit time.Duration) Transport {
	return around{WithPolling(a.Transport, limit)}
}
