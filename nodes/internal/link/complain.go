package link

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A Fault is a kind of complaint: a fault that the connection survives, or a reason why the peer
// has to wait.
type Fault uint32

const (
	faultAnswer Fault = 1 << iota // the answer to one of its signals cannot be encoded
	faultRaw                      // this node has sent it an ei.Raw that is no term
	// FaultAbove is the first kind, a bit, of those that the package above has.
	FaultAbove
)

// Complain logs a complaint. The first of its kind on a connection is a warning; later ones are
// logged at the level Debug, so that no peer fills the log.
func (c *Conn) Complain(fault Fault, text string, err error) {
	level := slog.LevelWarn
	if Fault(c.faults.Or(uint32(fault)))&fault != 0 {
		level = slog.LevelDebug
	}
	c.env.Log.Log(context.Background(), level, text, "peer", c.peer.Name, "error", err)
}

// BadRaw is the text about a message that a peer is sent, and ends the connection over.
const BadRaw = "a malformed ei.Raw was sent: the peer may end the connection over it"

// complainOfRaw logs that what is sent to the peer is no term: the peer's log has only that.
func (c *Conn) complainOfRaw(ctl *dist.Control, term any, encoded ei.Raw) {
	if err := RawFault(term, encoded); err != nil {
		c.Complain(faultRaw, BadRaw, fmt.Errorf("%d bytes to %s: %w", len(encoded), Recipient(ctl), err))
	}
}
