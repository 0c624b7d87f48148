package gate_test

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes/dist"
)

// An attacker makes by hand what no Erlang node would send.
type attacker struct {
	addr   string // of the gate's listener
	node   string // the node behind
	cookie string // the one for nodes outside
	name   string // may come
}

const attackerFlags = dist.FlagsDefault | dist.FlagUnicodeIO

// dial connects. change, which may be nil, changes what is normal.
func (a attacker) dial(change func(s *protocol.Self, o *protocol.InitiateOptions)) (*rawConn, error) {
	c, err := net.Dial("tcp", a.addr)
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(expect.Limit)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	s := protocol.Self{Name: a.name, Cookie: a.cookie, Creation: 7, Challenge: uint32(time.Now().UnixNano()) | 1, Flags: attackerFlags}
	o := protocol.InitiateOptions{Want: a.node}
	if change != nil {
		change(&s, &o)
	}
	r := &rawConn{Conn: c}
	r.peer, err = protocol.Initiate(shaking{c}, s, o)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return r, nil
}

// again dials until the connection before is forgotten inside: a node that has not seen its end
// yet says that the name is alive.
func (a attacker) again(t *testing.T) *rawConn {
	t.Helper()
	for end := time.Now().Add(expect.Limit); ; time.Sleep(5 * time.Millisecond) {
		c, err := a.dial(nil)
		if err == nil {
			return c
		}
		if time.Now().After(end) {
			require.NoError(t, err)
		}
	}
}

// shaking carries the packets of a handshake.
type shaking struct{ net.Conn }

func (c shaking) ReadPacket() ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	p := make([]byte, binary.BigEndian.Uint16(head[:]))
	_, err := io.ReadFull(c, p)
	return p, err
}

func (c shaking) WritePackets(packets ...[]byte) error {
	for _, p := range packets {
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(p))), p...)); err != nil {
			return err
		}
	}
	return nil
}

// A rawConn is a connection after its handshake.
type rawConn struct {
	net.Conn
	peer dist.Peer
}

// next reads control messages until one is there; ticks are passed over.
func (c *rawConn) next() (ctl dist.Control, err error) {
	for {
		var head [4]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return ctl, err
		}
		frame := make([]byte, binary.BigEndian.Uint32(head[:]))
		if _, err := io.ReadFull(c, frame); err != nil {
			return ctl, err
		}
		if len(frame) > 3 {
			cur := ei.NewCursor(frame[3:]) // behind 131, 68, 0
			return ctl, protocol.ParseControl(&cur, &ctl)
		}
	}
}

// A probe tells where what has been written before is dealt with: the gate answers in order, and a
// monitor of nobody is allowed to nobody, so that it is refused.
func (c *rawConn) probe(a attacker, n uint32) []byte {
	ctl := dist.Control{Op: dist.OpMonitorP, From: a.pid(1), ToName: "nobody_of_this_name", Ref: a.ref(1<<16, n)}
	return frameFor(c.peer.Flags, &ctl, nil)
}

// answers writes frames and gives the operations that come back before the probe's answer, and
// false if the connection was closed instead.
func (c *rawConn) answers(a attacker, frames []byte) (ops []string, open bool) {
	if _, err := c.Write(append(slices.Clip(frames), c.probe(a, 1)...)); err != nil {
		return nil, false
	}
	for {
		ctl, err := c.next()
		if err != nil {
			return ops, false
		}
		if ctl.Ref == a.ref(1<<16, 1) {
			return ops, true
		}
		ops = append(ops, ctl.Op.String())
	}
}

func (a attacker) pid(id uint32) ei.Pid { return ei.Pid{Node: ei.Atom(a.name), ID: id, Creation: 7} }

func (a attacker) ref(ids ...uint32) ei.Ref {
	r := ei.Ref{Node: ei.Atom(a.name), Creation: 7, Len: 3}
	copy(r.ID[:], ids)
	return r
}

func frameFor(flags dist.Flags, ctl *dist.Control, payload []byte) []byte {
	b, err := protocol.AppendFrameHead(nil, flags, ctl, len(payload))
	if err != nil {
		panic(err)
	}
	return append(b, payload...)
}

func encoded(t ei.Term) []byte {
	b, err := ei.AppendTerm(nil, t)
	if err != nil {
		panic(err)
	}
	return b
}

// join makes a term of its pieces.
func join(pieces ...[]byte) []byte { return slices.Concat(pieces...) }

// pidOf finds a pid among what inside:secrets/0 tells.
func pidOf(t *testing.T, secrets, name string) ei.Pid { return secretOf[ei.Pid](t, secrets, name) }

func secretOf[T ei.Term](t *testing.T, secrets, name string) (found T) {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(strings.Trim(secrets, `"`))
	require.NoError(t, err)
	term, err := ei.Decode(b)
	require.NoError(t, err)
	list, ok := ei.Elements(term)
	require.True(t, ok)
	for _, e := range list {
		if pair := e.(ei.Tuple); pair[0] == ei.Atom(name) {
			return pair[1].(T)
		}
	}
	t.Fatalf("no %s among the secrets", name)
	return found
}

// inPieces gives the frames of a message in pieces of a size, the first one included.
func inPieces(sequence uint64, ctl *dist.Control, payload []byte, size int) (frames [][]byte) {
	control, err := protocol.AppendControl(nil, ctl)
	if err != nil {
		panic(err)
	}
	cut := protocol.Cut(sequence, len(control), payload, len(control)+size)
	cut.Next = uint64(len(payload)+size-1) / uint64(size)
	head, piece := cut.AppendFirst(nil, nil, nil, control)
	frames = append(frames, join(head, piece))
	for cut.Size = size; cut.Next > 0; {
		head, piece := cut.AppendNext(nil)
		frames = append(frames, join(head, piece))
	}
	return frames
}
