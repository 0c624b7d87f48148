//go:build unix

package nodes

import (
	"context"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A killPeer is the other end of a node's connection, played by this process.
type killPeer struct {
	*wire
	i     int
	rest  []byte // of the first question
	due   int    // greetings
	heard int    // of the greetings
	over  bool   // the connection is closed
}

// begin sends half a question.
func (p *killPeer) begin() {
	p.t.Helper()
	first := p.question(ei.Pid{}, 0)
	half := len(first) / 2
	require.NoError(p.t, p.write(first[:half]))
	p.rest = first[half:]
}

// question is a frame to a witness: the one with the pid to or, if that is zero, the one at the
// other end of the connection.
func (p *killPeer) question(to ei.Pid, q int) []byte {
	ctl := dist.Control{Op: dist.OpRegSend, From: p.self, ToName: "witness"}
	if to != (ei.Pid{}) {
		ctl = dist.Control{Op: dist.OpSend, To: to}
	}
	return frame(p.t, ctl, ei.Tuple{p.self, ei.Int(q)})
}

// ask asks a witness, and returns which process answers, 0 if the connection is closed. Everything
// that the other side sent before has to come first, once and in order.
func (p *killPeer) ask(to ei.Pid, q int) (pid int) {
	p.t.Helper()
	if p.over {
		return 0
	}
	out := p.question(to, q)
	if p.rest != nil {
		q, out, p.rest = 0, p.rest, nil
	}
	if err := p.write(out); err != nil {
		require.NotErrorIs(p.t, err, context.DeadlineExceeded)
	}
	for {
		ctl, said := p.hear()
		switch {
		case said == nil:
			return 0
		case ctl.ToName == "sink":
			require.Equal(p.t, ei.Int(p.heard), said[0], "peer %d", p.i)
			require.Equal(p.t, greetingOf(p.i, p.heard), said[1])
			p.heard++
		default:
			require.Equal(p.t, p.due, p.heard, "peer %d: the answer has overtaken", p.i)
			require.Equal(p.t, ei.Int(q), said[0], "peer %d: the answer to another question", p.i)
			return int(said[1].(ei.Int))
		}
	}
}

// hear receives the next message, nil if the connection is closed.
func (p *killPeer) hear() (ctl dist.Control, said ei.Tuple) {
	p.t.Helper()
	for {
		body, err := p.frame(soon(p.t))
		if err != nil {
			require.NotErrorIs(p.t, err, context.DeadlineExceeded)
			p.over = true // the rest of a frame is not used
			return ctl, nil
		}
		if len(body) == 0 {
			continue
		}
		ctl, raw, ok := p.parse(body)
		if !ok {
			continue
		}
		term, err := raw.Decode()
		require.NoError(p.t, err)
		return ctl, term.(ei.Tuple)
	}
}
