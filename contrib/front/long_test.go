package front

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff/bind10"
)

func headPacket(head string) []byte { return append([]byte{kindHead, 0, 0, 0, 0, 0, 0, 0, 7}, head...) }

func partPacket(offset uint32, part []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kindPart, 0, 0, 0, 0, 0, 0, 0, 7}, offset), part...)
}

func longPacket(at counters, rest, head, parts int, data string) []byte {
	b := binary.BigEndian.AppendUint64([]byte{kindLong, 0, 0, 0, 0, 0, 0, 0, 7}, uint64(at.consumed))
	b = binary.BigEndian.AppendUint64(b, uint64(at.written))
	for _, n := range []int{rest, head, parts} {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	return append(b, data...)
}

// A point in parts is what was said before it, and none if anything of it is missing.
func TestPointInParts(t *testing.T) {
	big := bytes.Repeat([]byte("r"), 600_000)
	var said preface
	say := func(packets ...[]byte) (p *point) {
		for _, b := range packets {
			k, ok := parsePacket(b)
			require.True(t, ok)
			require.EqualValues(t, 7, k.id)
			said.note(&k)
			p = k.point
		}
		return p.whole()
	}
	at := counters{consumed: 3, written: 4}
	require.Equal(t, &point{at: at, rest: []byte("re"), state: []byte("headst")}, say(headPacket("head"), longPacket(at, 2, 4, 0, "rest")))
	require.Equal(t, &point{at: at, rest: []byte{}, state: []byte("headmore")}, say(longPacket(at, 0, 4, 0, "more")), "it stays")
	require.Equal(t, []byte("state"), say(longPacket(at, 0, 0, 0, "state")).state)
	p := say(partPacket(0, big[:60_000]), partPacket(60_000, big[60_000:]), longPacket(at, len(big)+1, 4, len(big), "sx"))
	require.Equal(t, append(bytes.Clone(big), 's'), p.rest)
	require.Equal(t, "headx", string(p.state))
	require.True(t, p.isLong())
	for name, packets := range map[string][][]byte{
		"a part is missing":        {partPacket(0, big[:10]), partPacket(20, big[20:30]), longPacket(at, 30, 4, 30, "")},
		"the parts are used up":    {longPacket(at, 10, 4, 10, "")},
		"of an attempt before":     {partPacket(0, big[:30]), longPacket(at, 10, 4, 10, "")},
		"another head":             {longPacket(at, 0, 5, 0, "")},
		"too little rest":          {longPacket(at, 5, 4, 0, "rest")},
		"too much":                 {partPacket(0, big), partPacket(600_000, big), longPacket(at, 0, 4, 1_200_000, "")},
		"no point, as of kindLong": {longPacket(counters{-1, -1}, 0, 0, 0, "")},
	} {
		require.Nil(t, say(packets...), name)
	}
	require.Equal(t, "x", string(say(partPacket(0, big[:30]), partPacket(0, []byte("x")), longPacket(at, 1, 0, 1, "")).rest), "begun anew")
}

// A session with more data than BIND 10's form has is in that form otherwise.
func TestLongSession(t *testing.T) {
	h := bind10.Header{Family: 1, Type: 1, Local: transport.UnixAddr("l"), Remote: transport.UnixAddr("r")}
	short, err := appendSession(nil, h, []byte("data"))
	require.NoError(t, err)
	long, err := appendSession(nil, h, bytes.Repeat([]byte("d"), 700_000))
	require.NoError(t, err)
	head := len(short) - len("data")
	require.Equal(t, short[:head-4], long[:head-4])
	require.EqualValues(t, 700_000, binary.BigEndian.Uint32(long[head-4:]))
	require.Len(t, long[head:], 700_000)
}
