package nodes

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
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

// A welcome whose descriptor was lost on its way, for want of a number, is one all the same.
func TestFirstWordWithoutDescriptor(t *testing.T) {
	one, other, err := handoff.SocketPair()
	require.NoError(t, err)
	front, err := handoff.FileConn(one)
	require.NoError(t, err)
	defer front.Close()
	worker, err := handoff.FileConn(other)
	require.NoError(t, err)
	l, err := newLine(worker)
	require.NoError(t, err)
	b, err := json.Marshal([]word{{Topic: sayWelcome, Name: "n@h", Part: 1}})
	require.NoError(t, err)
	_, _, err = front.WriteMsgUnix(b, unix.UnixRights(0), nil)
	require.NoError(t, err)
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: limit.Max}))
	words, err := l.first(soon(t))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	require.NoError(t, err)
	require.Equal(t, []word{{Topic: sayWelcome, Name: "n@h", Part: 1}}, words)
	l.close()
	<-l.wrote
}
