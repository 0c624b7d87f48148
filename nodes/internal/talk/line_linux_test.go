package talk

import (
	"context"
	"testing"

	"github.com/cnode-go/cnode/internal/test/scarce"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/beam"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The messages that a process sent before it ended are received, although it has left messages of
// ours unread.
func TestLastMessagesOfALine(t *testing.T) {
	one, other, err := handoff.PacketPair()
	require.NoError(t, err)
	ours, err := handoff.FileConn(one)
	require.NoError(t, err)
	theirs, err := handoff.FileConn(other)
	require.NoError(t, err)
	_, err = ours.Write([]byte("[]"))
	require.NoError(t, err)
	m, err := beam.NewConn(theirs, nil)
	require.NoError(t, err)
	last := []Message{&Took{}, &Over{}}
	for _, said := range last {
		b, err := marshalAll([]Message{said})
		require.NoError(t, err)
		require.NoError(t, m.Send(context.Background(), b, nil))
	}
	require.NoError(t, m.Close())

	l, err := New(ours)
	require.NoError(t, err)
	require.True(t, l.Say(&Took{}))
	<-l.wrote // the writer finds that the other side has ended
	require.False(t, l.Say(&Took{}))
	var heard []Message
	require.Error(t, l.Read(func(m Message) { heard = append(heard, m) }))
	require.Equal(t, last, heard)
	l.Close()
}

// A welcome whose descriptor was lost on its way, for want of a descriptor number, still arrives as
// a message.
func TestFirstMessageWithoutDescriptor(t *testing.T) {
	one, other, err := handoff.PacketPair()
	require.NoError(t, err)
	front, err := handoff.FileConn(one)
	require.NoError(t, err)
	defer front.Close()
	worker, err := handoff.FileConn(other)
	require.NoError(t, err)
	l, err := New(worker)
	require.NoError(t, err)
	welcome := []Message{&Welcome{Name: "n@h", Part: 1}}
	b, err := marshalAll(welcome)
	require.NoError(t, err)
	_, _, err = front.WriteMsgUnix(b, unix.UnixRights(0), nil)
	require.NoError(t, err)
	enough := scarce.Descriptors(t, 3)
	heard, err := l.First(t.Context())
	enough()
	require.NoError(t, err)
	require.Equal(t, welcome, heard)
	l.Close()
	<-l.wrote
}
