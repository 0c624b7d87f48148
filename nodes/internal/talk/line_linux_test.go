package talk

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/cnode-go/cnode/test/scarce"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The words that a process sent before it ended are received, although it has left words of ours
// unread.
func TestLastWordsOfALine(t *testing.T) {
	one, other, err := handoff.PacketPair()
	require.NoError(t, err)
	ours, err := handoff.FileConn(one)
	require.NoError(t, err)
	theirs, err := handoff.FileConn(other)
	require.NoError(t, err)
	_, err = ours.Write([]byte("[]"))
	require.NoError(t, err)
	m, err := handoff.NewMessageConn(theirs, nil)
	require.NoError(t, err)
	for _, topic := range []Topic{Took, Over} {
		b, err := json.Marshal([]Word{{Topic: topic}})
		require.NoError(t, err)
		require.NoError(t, m.Send(context.Background(), b, nil))
	}
	require.NoError(t, m.Close())

	l, err := New(ours)
	require.NoError(t, err)
	require.True(t, l.Say(Word{Topic: Took}))
	<-l.wrote // the writer finds that the other side has ended
	require.False(t, l.Say(Word{Topic: Took}))
	var heard []Topic
	require.Error(t, l.Read(func(w Word) { heard = append(heard, w.Topic) }))
	require.Equal(t, []Topic{Took, Over}, heard)
	l.Close()
}

// A welcome whose descriptor was lost on its way, for want of a descriptor number, still arrives as
// a word.
func TestFirstWordWithoutDescriptor(t *testing.T) {
	one, other, err := handoff.PacketPair()
	require.NoError(t, err)
	front, err := handoff.FileConn(one)
	require.NoError(t, err)
	defer front.Close()
	worker, err := handoff.FileConn(other)
	require.NoError(t, err)
	l, err := New(worker)
	require.NoError(t, err)
	b, err := json.Marshal([]Word{{Topic: Welcome, Name: "n@h", Part: 1}})
	require.NoError(t, err)
	_, _, err = front.WriteMsgUnix(b, unix.UnixRights(0), nil)
	require.NoError(t, err)
	enough := scarce.Descriptors(t, 3)
	words, err := l.First(t.Context())
	enough()
	require.NoError(t, err)
	require.Equal(t, []Word{{Topic: Welcome, Name: "n@h", Part: 1}}, words)
	l.Close()
	<-l.wrote
}
