package cnodequic

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"

	"github.com/quic-go/quic-go"

	"github.com/cnode-go/cnode/internal/host"
)

// handshakes counts those in progress at a listener. A datagram begins one, and costs two
// goroutines and their memory for some seconds, whether or not it comes from where it says.
type handshakes struct {
	most int

	mu    sync.Mutex
	all   int
	hosts map[netip.Prefix]int // of clients whose address has been verified
}

var errCrowded = errors.New("too many handshakes at once (Config.MaxHandshakes)")

// verifyFrom is how much of most may be in progress before clients have to show that they receive
// what is sent to their address; a fourth. hostShare is how much one such host may have; a half.
const (
	verifyFrom = 4
	hostShare  = 2
)

// begin counts a handshake until end is called, the first time.
func (h *handshakes) begin(from *quic.ClientInfo) (end func(), err error) {
	var at netip.Prefix
	if udp, ok := from.RemoteAddr.(*net.UDPAddr); ok && from.AddrVerified {
		at = host.Of(udp.AddrPort().Addr())
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	// An address that is not verified has no share of its own: another one could use it up.
	if h.all >= h.most || at.IsValid() && h.hosts[at] >= max(h.most/hostShare, 1) {
		return nil, errCrowded
	}
	h.count(at, 1)
	return sync.OnceFunc(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.count(at, -1)
	}), nil
}

// count is called with h.mu held.
func (h *handshakes) count(at netip.Prefix, n int) {
	h.all += n
	if !at.IsValid() {
		return
	}
	if h.hosts[at] += n; h.hosts[at] == 0 {
		delete(h.hosts, at)
	}
}

// doubts tells whether the address of the next client has to be verified.
func (h *handshakes) doubts(net.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all >= h.most/verifyFrom
}

// inProgress is the key of the function that ends the counting, in a connection's context.
type inProgress struct{}

// hear makes the listener of quic-go's. What it asks about clients are fields of the socket, which
// may be the program's: they are set for as long as quic-go reads them.
func (l *listener) hear() (err error) {
	l.p.hearing.Lock()
	defer l.p.hearing.Unlock()
	verify, next := l.at.VerifySourceAddress, l.at.ConnContext
	defer func() { l.at.VerifySourceAddress, l.at.ConnContext = verify, next }()
	if verify == nil {
		l.at.VerifySourceAddress = l.shaking.doubts
	}
	l.at.ConnContext = func(ctx context.Context, from *quic.ClientInfo) (context.Context, error) {
		return l.admit(ctx, from, next)
	}
	l.quic, err = l.at.Listen(l.p.server, l.p.accepted)
	return err
}

// admit counts a handshake until it is over, and logs why it has failed.
func (l *listener) admit(ctx context.Context, from *quic.ClientInfo,
	next func(context.Context, *quic.ClientInfo) (context.Context, error)) (context.Context, error) {
	log := l.p.log.With("addr", from.RemoteAddr.String())
	end, err := l.shaking.begin(from)
	if err != nil {
		log.Log(ctx, levelFailed, "TLS handshake refused", "error", err)
		return nil, err
	}
	context.AfterFunc(ctx, func() {
		end()
		if err := new(quic.TransportError); errors.As(context.Cause(ctx), &err) && err.ErrorCode.IsCryptoError() {
			log.Log(context.Background(), levelFailed, "TLS handshake failed", "error", err)
		}
	})
	if next != nil {
		if ctx, err = next(ctx, from); err != nil {
			return nil, err
		}
	}
	return context.WithValue(ctx, inProgress{}, end), nil
}

// done ends the counting of a connection whose handshake has succeeded.
func done(c *quic.Conn) {
	if end, ok := c.Context().Value(inProgress{}).(func()); ok {
		end()
	}
}
