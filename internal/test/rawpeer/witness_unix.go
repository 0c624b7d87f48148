//go:build unix

package rawpeer

import (
	"context"
	"errors"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// What a witness sends to fill a peer's window: more than narrow windows hold, which is up to 150
// KB.
const (
	Greetings     = 32
	GreetingBytes = 8 << 10
	narrowWindow  = 32 << 10
)

// A Questioner is the other end of a node's connection: it asks a process of the node, the witness,
// in which process of the system it is.
type Questioner struct {
	*Peer
	I     int
	Due   int    // greetings
	Over  bool   // the connection is closed
	rest  []byte // of the first question
	heard int    // of the greetings
}

// Begin sends half a question.
func (p *Questioner) Begin() {
	p.T.Helper()
	first := p.Question(ei.Pid{}, 0)
	half := len(first) / 2
	require.NoError(p.T, p.Write(first[:half]))
	p.rest = first[half:]
}

// Question is a frame to a witness: the one with the pid to or, if that is zero, the one at the
// other end of the connection.
func (p *Questioner) Question(to ei.Pid, q int) []byte {
	ctl := dist.Control{Op: dist.OpRegSend, From: p.Self, ToName: "witness"}
	if to != (ei.Pid{}) {
		ctl = dist.Control{Op: dist.OpSend, To: to}
	}
	return Frame(p.T, ctl, ei.Tuple{p.Self, ei.Int(q)})
}

// Ask asks a witness, and returns which process answers, 0 if the connection is closed. Everything
// that the other side sent before has to come first, once and in order.
func (p *Questioner) Ask(to ei.Pid, q int) (pid int) {
	p.T.Helper()
	if p.Over {
		return 0
	}
	out := p.Question(to, q)
	if p.rest != nil {
		q, out, p.rest = 0, p.rest, nil
	}
	if err := p.Write(out); err != nil {
		require.NotErrorIs(p.T, err, context.DeadlineExceeded)
	}
	for {
		ctl, said := p.Hear()
		switch {
		case said == nil:
			return 0
		case ctl.ToName == "sink":
			require.Equal(p.T, ei.Int(p.heard), said[0], "peer %d", p.I)
			require.Equal(p.T, greeting(p.I, p.heard), said[1])
			p.heard++
		default:
			require.Equal(p.T, p.Due, p.heard, "peer %d: the answer has overtaken", p.I)
			require.Equal(p.T, ei.Int(q), said[0], "peer %d: the answer to another question", p.I)
			return int(said[1].(ei.Int))
		}
	}
}

// Hear receives the next message, nil if the connection is closed.
func (p *Questioner) Hear() (ctl dist.Control, said ei.Tuple) {
	p.T.Helper()
	for {
		body, err := p.ReadFrame(expect.Context(p.T))
		if err != nil {
			require.NotErrorIs(p.T, err, context.DeadlineExceeded)
			p.Over = true // the rest of a frame is not used
			return ctl, nil
		}
		if len(body) == 0 {
			continue
		}
		ctl, raw, ok := p.Parse(body)
		if !ok {
			continue
		}
		term, err := raw.Decode()
		require.NoError(p.T, err)
		return ctl, term.(ei.Tuple)
	}
}

// Greet sends count greetings to a peer over a narrowed stream, so that the peer's window fills.
func Greet(ctx context.Context, c conn, peer, count int) error {
	if err := Narrow(c.Stream(), unix.SO_SNDBUF); err != nil {
		return err
	}
	for k := range count {
		if err := c.SendName(ctx, "sink", ei.Tuple{ei.Int(k), greeting(peer, k)}); err != nil {
			return err
		}
	}
	return nil
}

// A conn is that of a node.
type conn interface {
	Stream() *transport.Stream
	SendName(ctx context.Context, name string, term any) error
}

// Narrow gives a stream a small buffer.
func Narrow(s *transport.Stream, buffer int) error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	e := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, buffer, narrowWindow) })
	return errors.Join(e, err)
}

func greeting(peer, k int) ei.Binary {
	b := make(ei.Binary, GreetingBytes)
	for i := range b {
		b[i] = byte(i + k + peer)
	}
	return b
}
