package front

import (
	"crypto/tls"
	"io/fs"
	"log/slog"
	"time"

	"github.com/cnode-go/cnode/transport/handoff"
)

// Options say how a Keeper keeps sessions. The zero value is the default.
type Options struct {
	// Policy chooses a worker for each session; nil is LeastSessions.
	Policy Policy
	// Peer decides which processes may be workers: an error refuses one. nil is handoff.SameUser.
	Peer func(handoff.Cred) error
	// WorkersMode is the mode of the workers' sockets; 0 is 0600.
	WorkersMode fs.FileMode
	// Window is how many sessions may be on their way to one worker: 0 is 64.
	Window int
	// MaxWorkers is how many workers there may be; 0 is 1024.
	MaxWorkers int
	// MaxParked is how many sessions may wait for a worker; 0 is 10,000. A client that comes
	// when there are as many takes the place of one that has ended its side; if none has, it is
	// closed. Sessions that lose their worker are parked beyond it.
	MaxParked int
	// MaxParkedAge is how long a session may wait for a worker: then it is closed. 0 is 1 minute.
	MaxParkedAge time.Duration
	// Patience is how long a worker's process may live on after its control socket has ended,
	// before the Keeper gives up its sessions: they are the worker's own then. 0 is 5 s.
	Patience time.Duration
	// Dial says which connections workers may have made; nil: none.
	Dial *DialOptions
	// Log gets what happens to workers, and why sessions are lost; nil: nothing.
	Log *slog.Logger
}

// ServeOptions say how the sessions of one listener begin. The zero value is the default.
type ServeOptions struct {
	// Proxy: each connection begins with a PROXY header, version 1 or 2, which says where the
	// client is. The header is taken off, and the session's endpoints are those it names. A
	// connection without one is closed: let nobody but proxies connect. On a listener of IPv4 a
	// header with IPv6 addresses is refused, so listen at an IPv6 address (net.Listen without a
	// host does).
	Proxy bool
	// TLS makes the Keeper end TLS: workers get the decrypted bytes. Its configuration needs
	// certificates.
	TLS *tls.Config
	// Linger is how long a client with TLS may leave what is written to it unread once its worker has
	// closed the session: then the connection is cut off. As long as anybody has the worker's end, a
	// client may take any time. 0 is 30 s. Without TLS this is for the system to decide
	// (tcp_orphan_retries).
	Linger time.Duration
	// Patience is how long a PROXY header, and the TLS handshake, may each take; 0 is 10 s.
	Patience time.Duration
}

// MaxPoint is the most bytes that a point may have: its state and the bytes that were read and are
// not dealt with, together.
const MaxPoint = mostPoint

const (
	defaultWindow     = 64
	defaultMaxWorkers = 1024
	defaultMaxParked  = 10_000
	defaultParkedAge  = time.Minute
	defaultPatience   = 5 * time.Second
	defaultBeginning  = 10 * time.Second
	defaultLinger     = 30 * time.Second
	helloLimit        = 5 * time.Second
	refusedPause      = 100 * time.Millisecond
	maxWindow         = 1<<16 - 1
)

// complete fills in the defaults.
func (o Options) complete() Options {
	or := func(n *int, value int) {
		if *n <= 0 {
			*n = value
		}
	}
	or(&o.Window, defaultWindow)
	or(&o.MaxWorkers, defaultMaxWorkers)
	or(&o.MaxParked, defaultMaxParked)
	o.Window = min(o.Window, maxWindow)
	if o.MaxParkedAge <= 0 {
		o.MaxParkedAge = defaultParkedAge
	}
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	if o.WorkersMode == 0 {
		o.WorkersMode = 0o600
	}
	if o.Policy == nil {
		o.Policy = LeastSessions
	}
	if o.Peer == nil {
		o.Peer = handoff.SameUser
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}
