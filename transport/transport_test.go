package transport

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
	tr, err := New(cb, nil)
	require.NoError(t, err)
	require.False(t, tr.Movable())
	c, s := pair(t, tr, MemoryAddr(""))
	_, err = c.Writev(soon(t), []byte("bare"), []byte(" bones"))
	require.NoError(t, err)
	_, err = s.Readv(soon(t), make([]byte, 10))
	require.NoError(t, err)
	require.Nil(t, c.LocalAddr())
	require.ErrorIs(t, c.CloseWrite(), errors.ErrUnsupported)
	_, _, err = c.Export()
	require.ErrorIs(t, err, errors.ErrUnsupported)
	n, err := c.PendingBytes()
	require.NoError(t, err)
	require.Zero(t, n)
	require.NoError(t, c.HandshakeComplete(soon(t), true))
	require.NoError(t, c.CheckPeer(soon(t), "n@h"))
	_, err = c.SyscallConn()
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = c.Descriptor()
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = tr.Import(0, nil)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = tr.ImportListener(0)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.NoError(t, c.Release(), "nil means Close")
	require.NoError(t, s.Close())
}

func TestNewFlags(t *testing.T) {
	cb := memoryCallbacks()
	cb.Flags |= 1 << 5
	_, err := New(cb, nil)
	require.ErrorContains(t, err, "0x20")

	cb = memoryCallbacks()
	cb.Flags = 0
	_, err = New(cb, nil)
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
	tr, err := New(cb, want)
	require.NoError(t, err)
	_, err = tr.Connect(context.Background(), MemoryAddr("nobody"))
	require.Error(t, err)
	require.True(t, tr.Movable())
	_, err = tr.Import(0, []byte("state"))
	require.ErrorIs(t, err, imported)
	require.Equal(t, []any{want, MemoryAddr("nobody"), want}, got)
	require.Same(t, want, got[0])
}

// A callback that was changed after New does not change the transport.
func TestNewCopies(t *testing.T) {
	cb := memoryCallbacks()
	tr, err := New(cb, nil)
	require.NoError(t, err)
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
