package epmd

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRegister(t *testing.T) {
	var got request
	addr := fakeMapper(t, func(conn net.Conn) {
		got, _ = parseRequest(readRequest(conn))
		io.WriteString(conn, "v\x00\xff\xff\xff\xfe")
		silent(conn)
	})
	ctx, cancel := context.WithCancel(t.Context())
	reg := Registration{Name: "abc", Port: 1234, Extra: []byte("x")}
	r, err := (&Client{Addr: addr}).Register(ctx, reg)
	require.NoError(t, err)
	require.Equal(t, uint32(0xfffffffe), r.Creation)
	require.Equal(t, Registration{Name: "abc", Port: 1234, Type: TypeHidden, High: 6, Low: 6, Extra: []byte("x")}, got.reg)
	require.Equal(t, got.reg, r.Registration())
	reg.Extra[0], r.Registration().Extra[0] = 'y', 'z'
	require.Equal(t, got.reg, r.Registration(), "whose buffer that was may use it again")

	cancel() // the context was for registering: the name stays
	select {
	case <-r.Done():
		t.Fatal("lost: ", r.Err())
	default:
	}
	require.NoError(t, r.Err())
	require.NoError(t, r.Close())
	<-r.Done()
	require.ErrorIs(t, r.Err(), net.ErrClosed)
	require.NotErrorIs(t, r.Err(), ErrLost)
	require.NoError(t, r.Close())
}

func TestRegisterWith16BitCreation(t *testing.T) {
	addr := fakeMapper(t, func(conn net.Conn) {
		readRequest(conn)
		io.WriteString(conn, "y\x00\x00\x03")
		silent(conn)
	})
	r := register(t, &Client{Addr: addr}, Registration{Name: "abc", Port: 1234})
	require.Equal(t, uint32(3), r.Creation)
	require.NoError(t, r.Close())
}

func TestRegistrationLost(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(net.Conn)
		want error
	}{
		{"closed", func(net.Conn) {}, io.EOF},
		{"data instead of silence", func(c net.Conn) { io.WriteString(c, "x"); silent(c) }, ErrProtocol},
	} {
		t.Run(tt.name, func(t *testing.T) {
			end, over := make(chan struct{}), make(chan struct{})
			addr := fakeMapper(t, func(conn net.Conn) {
				defer close(over)
				readRequest(conn)
				io.WriteString(conn, "v\x00\x00\x00\x00\x07")
				<-end
				tt.end(conn)
			})
			r := register(t, &Client{Addr: addr}, Registration{Name: "abc", Port: 1234})
			require.NoError(t, r.Err())
			close(end)
			<-r.Done()
			err := r.Err()
			require.ErrorIs(t, err, ErrLost)
			require.ErrorIs(t, err, tt.want)
			require.ErrorContains(t, err, `"abc" at `+addr)
			<-over // the connection is closed without Close
			require.NoError(t, r.Close())
			require.ErrorIs(t, r.Err(), ErrLost, "closing later does not change why it ended")
		})
	}
}

// A context that ends at the moment the answer arrives must give either a registration or an error,
// never something in between.
func TestRegisterAndContextEndTogether(t *testing.T) {
	s := &Server{}
	addr := startServer(t, s)
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		r, err := (&Client{Addr: addr}).Register(ctx, Registration{Name: "abc", Port: 1})
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			continue
		}
		require.NoError(t, r.Err())
		require.NoError(t, r.Close())
	}
}
