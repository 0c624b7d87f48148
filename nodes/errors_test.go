package nodes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/transport"
)

// The text of an error has the whole of a reason that a person reads, and the beginning of any
// other.
func TestReasonTexts(t *testing.T) {
	pid := ei.Pid{Node: "n@h", ID: 1, Serial: 2, Creation: 3}
	usual := ei.Tuple{ei.Atom("undef"), ei.List{ei.Atom("m")}}
	long := ei.Binary(strings.Repeat("x", 5<<20))
	for _, tt := range []struct {
		err   func(reason ei.Term) error
		usual string
	}{
		{func(r ei.Term) error { return &RPCError{r} }, "{badrpc,{undef,[m]}}"},
		{func(r ei.Term) error { return &ExitError{Reason: r} }, "process exited: {undef,[m]}"},
		{func(r ei.Term) error { return &ExitError{pid, r} }, "process #Pid<n@h.1.2.3> exited: {undef,[m]}"},
	} {
		require.EqualError(t, tt.err(usual), tt.usual)
		text := tt.err(long).Error()
		require.Contains(t, text, "<<\"xxxx")
		require.Less(t, len(text), 2*reasonText)
		require.NotEmpty(t, tt.err(nil).Error())
	}
}

// A time-out is one whatever has made it, and however deep it is wrapped.
func TestErrorTimeout(t *testing.T) {
	for _, tt := range []struct {
		why  error
		late bool
	}{
		{context.DeadlineExceeded, true},
		{os.ErrDeadlineExceeded, true},
		{ErrHandshakeTimeout, true},
		{ErrTickTimeout, true},
		{transport.ErrPaused, true},
		{&dist.HandshakeError{Phase: protocol.PhaseStatus, Err: context.DeadlineExceeded}, true},
		{&epmd.Error{Op: "resolve", Err: epmd.ErrTimeout}, true},
		{&transport.OpError{Op: "read", Err: syscall.ETIMEDOUT}, true},
		{&Error{"receive", "", context.DeadlineExceeded}, true},
		{fmt.Errorf("%w: %w", ErrNoConnection, ErrHandshakeTimeout), true},
		{errors.Join(&transport.OpError{Op: "close", Err: io.EOF}, os.ErrDeadlineExceeded), true},
		{context.Canceled, false},
		{ErrNoConnection, false},
		{io.EOF, false},
		{&epmd.Error{Op: "resolve", Err: epmd.ErrNoAnswer}, false},
		{&transport.OpError{Op: "read", Err: syscall.ECONNRESET}, false},
	} {
		var err net.Error
		require.ErrorAs(t, wrap("connect", "a@b", tt.why), &err)
		require.IsType(t, &Error{}, err)
		require.Equal(t, tt.late, err.Timeout(), tt.why)
	}
}

// What is closed is so for programs that know package net only.
func TestClosedIsNetErrClosed(t *testing.T) {
	n := newWorld(t, "memory").node("alice")
	require.NoError(t, n.Close())
	_, err := n.Connect(t.Context(), "bob@test")
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, err, net.ErrClosed)
}
