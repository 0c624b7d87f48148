package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

func TestOpError(t *testing.T) {
	for _, tt := range []struct {
		err     *OpError
		text    string
		timeout bool
		is      error
	}{
		{&OpError{"read", loopback(), syscall.ECONNRESET}, "read 127.0.0.1:0: connection reset by peer", false, syscall.ECONNRESET},
		{&OpError{"read", nil, os.ErrDeadlineExceeded}, "read: i/o timeout", true, os.ErrDeadlineExceeded},
		{&OpError{"write", UnixAddr(""), context.DeadlineExceeded}, "write: context deadline exceeded", true, context.DeadlineExceeded},
		{&OpError{"write", UnixAddr("/x"), context.Canceled}, "write unix:/x: context canceled", false, context.Canceled},
		{&OpError{"connect", loopback(), syscall.ETIMEDOUT}, "connect 127.0.0.1:0: connection timed out", true, syscall.ETIMEDOUT},
		{&OpError{"accept", nil, net.ErrClosed}, "accept: use of closed network connection", false, net.ErrClosed},
		{&OpError{"read", nil, io.ErrUnexpectedEOF}, "read: unexpected EOF", false, io.ErrUnexpectedEOF},
		{&OpError{"connect", nil, fmt.Errorf("wrapped: %w", syscall.ECONNREFUSED)}, "connect: wrapped: connection refused", false,
			syscall.ECONNREFUSED},
	} {
		require.Equal(t, tt.text, tt.err.Error())
		require.Equal(t, tt.timeout, tt.err.Timeout(), tt.text)
		require.False(t, tt.err.Temporary())
		require.ErrorIs(t, tt.err, tt.is)
		expect.As[net.Error](t, fmt.Errorf("outside: %w", tt.err))
	}
	require.NoError(t, opError("read", nil, nil))
}

func TestCallbackError(t *testing.T) {
	err := opError("read", nil, contractError("Read", "%d bytes", -1))
	require.Equal(t, "read: plug-in callback Read: the plug-in broke its contract: -1 bytes", err.Error())
	require.ErrorIs(t, err, ErrContract)
	cb := expect.As[*CallbackError](t, err)
	require.Equal(t, "Read", cb.Callback)
	for _, sentinel := range []error{ErrBusy, ErrPoisoned, ErrContract, ErrUnresponsive, ErrPanic} {
		require.Equal(t, sentinel == ErrContract, errors.Is(err, sentinel))
		require.Equal(t, sentinel == ErrBusy, errors.Is(opError("read", nil, sentinel), syscall.EBUSY))
	}
	require.NotErrorIs(t, ErrBusy, syscall.EAGAIN)
}
