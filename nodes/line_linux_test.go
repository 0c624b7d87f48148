package nodes

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/stretchr/testify/require"
)

// What a process said before it ended is heard, though it has left words of ours unread.
func TestLastWordsOfALine(t *testing.T) {
	one, other, err := handoff.SocketPair()
	require.NoError(t, err)
	ours, err := handoff.FileConn(one)
	require.NoError(t, err)
	theirs, err := handoff.FileConn(other)
	require.NoError(t, err)
	_, err = ours.Write([]byte("[]"))
	require.NoError(t, err)
	m, err := handoff.NewMessageConn(theirs, nil)
	require.NoError(t, err)
	for _, topic := range []topic{sayTook, sayOver} {
		b, err := json.Marshal([]word{{Topic: topic}})
		require.NoError(t, err)
		require.NoError(t, m.Send(context.Background(), b, nil))
	}
	require.NoError(t, m.Close())

	l, err := newLine(ours)
	require.NoError(t, err)
	require.True(t, l.say(word{Topic: sayTook}))
	<-l.wrote // which finds that nobody takes it
	require.False(t, l.say(word{Topic: sayTook}))
	var heard []topic
	require.Error(t, l.read(func(w word) { heard = append(heard, w.Topic) }))
	require.Equal(t, []topic{sayTook, sayOver}, heard)
	l.close()
}
