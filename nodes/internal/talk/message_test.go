package talk

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
)

// Messages are written as testdata/messages has them, and read so: it is the form of the lines
// between a front and its workers, which the processes of two versions share.
func TestFormOfMessages(t *testing.T) {
	const flags = dist.FlagsLibei | dist.FlagDistMonitorName | dist.FlagSpawn | dist.FlagExitPayload | dist.FlagSendSender | dist.FlagAlias
	peer := &dist.Peer{
		Name: "x@a", Creation: 5, Flags: flags, Announced: flags | 1, Version: 6, Status: protocol.StatusOK,
		SelfName: "n@h", SelfCreation: 7,
	}
	list := []Message{
		&Welcome{Name: "n@h", Creation: 7, Part: 3},
		&SessionSocket{Number: 2},
		&Session{Plugin: "tcp", Place: 1, State: []byte("key"), Data: []byte{0, 1, 255}},
		&Session{Plugin: "unix", Data: []byte("data")},
		&Probe{ID: 9},
		&LinkRequest{Peer: "x@a", Part: 2},
		&Answer{ID: 4, Part: 1},
		&Answer{ID: 4, OK: true},
		&Answer{ID: 4, OK: true, Part: 1, Number: 1 << 40},
		&Answer{ID: 4},
		&Published{OK: true},
		&Published{},
		&Finish{},
		&Move{ID: 1},
		&Ready{},
		&Took{Via: ViaForwarder},
		&Took{Via: ViaLine},
		&SocketLost{},
		&SocketLost{Number: 2},
		&Here{ID: 9},
		&Up{Key: "x@a", Peer: "x@a"},
		&Up{Peer: "ü<&>@a"},
		&Over{Peer: "x@a"},
		&Over{},
		&Over{Peer: "x@a", Untaken: true},
		&Release{Name: "joe"},
		&Moved{PID: 4711},
		&Stayed{Move: 1, Why: "why"},
		&Claim{ID: 5, Peer: "x@a"},
		&Register{ID: 6, Name: "joe", Key: 1<<32 + 7},
		&Lookup{ID: 7, Name: "joe"},
		&WorkerLink{Part: 2, Newest: 3},
		&WorkerLink{Part: 2},
		&CloseConn{Peer: "x@a"},
		&CloseConn{Peer: "x@a", Closed: true},
		&RemoteLink{Part: 2, Peer: peer},
		&RemoteLink{Part: 2},
		&NoConn{Part: 2, Peer: "x@a"},
		&NoConn{Part: 2},
	}
	written, err := os.ReadFile("testdata/messages")
	require.NoError(t, err)
	lines := bytes.Split(bytes.TrimSpace(written), []byte("\n"))
	require.Len(t, lines, len(list))
	seen := map[string]bool{}
	for i, m := range list {
		b, err := Marshal(m)
		require.NoError(t, err)
		require.Equal(t, string(lines[i]), string(b))
		read, err := Parse(lines[i], 0)
		require.NoError(t, err)
		require.Equal(t, m, read)
		seen[m.topic()] = true
	}
	require.Len(t, seen, len(types), "each topic is among them")
	packet, err := marshalAll(list)
	require.NoError(t, err)
	require.Equal(t, "["+string(bytes.Join(lines, []byte(",")))+"]", string(packet))
	var read []Message
	require.NoError(t, parseAll(packet, 0, func(m Message) { read = append(read, m) }))
	require.Equal(t, list, read)
}

// What a later version says is passed on as it is, and a field that only that version knows does no
// harm.
func TestOfLaterVersion(t *testing.T) {
	const odd = `{"topic":"odd","id":"x"}`
	m, err := Parse([]byte(odd), 0)
	require.NoError(t, err)
	b, err := Marshal(m)
	require.NoError(t, err)
	require.Equal(t, odd, string(b))
	m, err = Parse([]byte(`{"topic":"probe","id":1,"more":{"x":[]}}`), 0)
	require.NoError(t, err)
	require.Equal(t, &Probe{ID: 1}, m)
}
