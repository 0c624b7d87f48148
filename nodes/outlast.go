package nodes

import (
	"context"
	"errors"
	"time"

	"github.com/cnode-go/cnode/transport"
)

const (
	// overtime is how long a handshake may take to notice that it has been ended. If it takes longer it is inside a callback that does not
	// come back.
	overtime = 1200 * time.Millisecond
	// afterClose is how long the handshake may take once its stream is closed: it is about to name the callback, if the transport knows it.
	afterClose = 100 * time.Millisecond
)

// errHook is the reason that remains when all callbacks of the plug-in have come back, and the handshake has not.
var errHook = errors.New("Config.CheckPeer did not come back when it was ended")

// errGoexit is the reason when Config.CheckPeer, or a callback of the plug-in, has ended its goroutine.
var errGoexit = errors.New("Config.CheckPeer, or the plug-in, has called runtime.Goexit")

// A handshakeFunc does the handshake of a Conn. It passes its stream, once there is one, to opened.
type handshakeFunc func(opened func(*transport.Stream)) (*Conn, error)

// outlast runs a handshake over tr, which ends with ctx. If a callback does not come back the handshake is left behind, and the error says
// so.
func (n *Node) outlast(ctx context.Context, tr transport.Transport, shake handshakeFunc) (*Conn, error) {
	if n.cfg.CheckPeer == nil && transport.Prompt(tr) {
		return shake(func(*transport.Stream) {})
	}
	type outcome struct {
		c   *Conn
		err error
	}
	done := make(chan outcome, 1)
	stream := make(chan *transport.Stream, 1)
	go func() {
		o := outcome{err: errGoexit}
		defer func() { done <- o }()
		o.c, o.err = shake(func(s *transport.Stream) {
			select { // only the last one counts
			case <-stream:
			default:
			}
			stream <- s
		})
	}()
	over := func(o outcome) (*Conn, error) {
		if o.err == errGoexit && len(stream) > 0 { // nobody else has closed it
			o.err = errors.Join(o.err, quietly((<-stream).Close()))
		}
		return o.c, o.err
	}
	select {
	case o := <-done:
		return over(o)
	case <-ctx.Done():
	}
	t := time.NewTimer(overtime)
	defer t.Stop()
	select {
	case o := <-done:
		return over(o)
	case <-t.C:
	}
	var err error = &transport.CallbackError{Callback: "Connect", Err: transport.ErrUnresponsive}
	select {
	case s := <-stream:
		if err = s.Close(); err == nil {
			err = errHook
		}
	default:
	}
	t.Reset(afterClose)
	select {
	case o := <-done: // with the better error, perhaps
		return over(o)
	case <-t.C:
		return nil, because(ctx, err)
	}
}
