package front

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/cnode-go/cnode/transport/handoff"
)

// DialOptions say which connections workers may have made. The Keeper knows them by names, and
// gives one to whoever asks for its name: at first the worker that it was made for, and when that
// one's process is gone, the next. A name belongs to the user whose worker has asked for it first,
// and one worker at a time has its connection.
type DialOptions struct {
	// Allow says whether a worker may have a connection to an address, HOST:PORT, by a name. An error
	// refuses it. Mandatory. The Keeper is locked during a call.
	Allow func(worker handoff.Cred, name, address string) error
	// TLS is the configuration of connections with TLS; nil is the system's certificates. Each is
	// verified by the name that the worker says, else the host of its address.
	TLS *tls.Config
	// MaxUnclaimedAge is how long a connection may wait for a worker that asks for it: then it is
	// closed. 0 is 1 hour.
	MaxUnclaimedAge time.Duration
	// Pause is how long a name is not dialled again after its connection has ended, or was not made.
	// It doubles up to LongestPause while connections fail, or last no longer than LongestPause. Each
	// pause is up to a half longer or shorter. 0 is 1 s, and 1 minute.
	Pause, LongestPause time.Duration
}

const (
	defaultUnclaimedAge = time.Hour
	defaultPause        = time.Second
	defaultLongestPause = time.Minute
	dialLimit           = 15 * time.Second
	mostClaims          = 100 // of one name: each is looked at whenever one comes
	tellAgain           = 20 * time.Millisecond
	grace               = 500 * time.Millisecond // until a name is taken: who has its connection may be about to end
)

// The packets of connections that are made; see docs/reference/front-protocol.md.
const (
	kindOpen   = 'o' // worker: number, flags, and what it wants
	kindFailed = 'g' // front: number, reason, text
	kindCancel = 'q' // worker: number of what it has asked for, and does not want any more
	kindBegin  = 's' // worker: session, number: TLS is to begin
	kindBegun  = 'v' // front: number, and what the session is told of TLS
	kindPause  = 'y' // front: number, ms until the name is dialled, and why it is not at once

	dialMark = 0xC6 // in place of envelopeMark
	dials    = 1    // of welcome

	flagWait  = 1 // of kindOpen: not an error if another worker has the connection
	flagTLS   = 2 // it has TLS from its beginning on
	flagLater = 4 // TLS begins when the worker says so
)

// A refused is why there is no connection.
type refused struct {
	reason byte
	error
}

// Reasons of kindFailed.
const (
	badAddress     = 1 + iota // it is not allowed
	badName                   // another worker has its connection, or another user the name
	unreachable               // it was dialled in vain
	badCertificate            // the peer's is not the one of that name
	badTLS                    // there is no TLS, for another reason
)

// How a worker gets a connection.
const (
	isNew   = 1 + iota
	isKept  // a worker before has told points of it
	isEnded // the peer has ended it while nobody had it
)

// A wish is what a connection is to be like. Exported fields of these types are what goes to the
// next process.
type wish struct {
	Address string
	TLS     byte   // flagTLS, flagLater or 0
	Server  string // whose certificate the peer must have
}

// A claim is a worker's wish for the connection of a name.
type claim struct {
	worker         *worker
	Worker, Number uint64
	Wait           bool
	Wish           wish
}

// A name is what workers know a connection by.
type name struct {
	Text     string
	UID      int      // whose workers may have it
	session  *session // nil: there is none
	Claims   []*claim // by those who wait for it
	dialling bool
	failed   error     // the last time
	Tries    int       // connections in turn that were not made, or did not last
	Next     time.Time // it is not dialled before
}

// outgoing is what a session knows of how it was made.
type outgoing struct {
	name  *name
	claim *claim // who gets it, or has got it last
	Name  string
	Wish  wish
	Facts []byte // of its TLS
	How   byte
	Since time.Time

	expires *time.Timer // while it waits; nil: it has never waited
}

// claim gives a worker the connection of a name, or has it made. k.mu and the gate are held.
func (k *Keeper) claim(w *worker, p packet) {
	c := &claim{worker: w, Worker: w.id, Number: p.id}
	text, ok := c.read(p.data)
	switch {
	case !ok:
		return
	case !utf8.ValidString(text + c.Wish.Server + c.Wish.Address): // they are written down as text
		k.fail(c, refused{badName, errors.New("it is not UTF-8")})
		return
	}
	n, err := k.mayClaim(c, text)
	if err != nil {
		k.fail(c, err)
		return
	}
	n.Claims = append(n.Claims, c)
	k.match(n)
	k.waits(n, c)
}

// cancel forgets a claim. k.mu is held.
func (k *Keeper) cancel(w *worker, number uint64) {
	for _, n := range k.names {
		n.Claims = slices.DeleteFunc(n.Claims, func(c *claim) bool { return c.worker == w && c.Number == number })
	}
}

// waits has a claim fail if another worker keeps the connection. k.mu is held.
func (k *Keeper) waits(n *name, c *claim) {
	if c.Wait {
		return
	}
	time.AfterFunc(grace, func() {
		k.locked(func() {
			if i := slices.Index(n.Claims, c); i >= 0 && n.session != nil && n.session.worker != nil && n.session.worker.keeps() {
				n.Claims = slices.Delete(n.Claims, i, i+1)
				k.fail(c, refused{badName, fmt.Errorf("worker %s has it", n.session.worker.label())})
			}
		})
	})
}

func (c *claim) read(p []byte) (name string, ok bool) {
	word := func() (s string) {
		if len(p) == 0 || len(p) < 1+int(p[0]) {
			p = nil
			return ""
		}
		s, p = string(p[1:1+int(p[0])]), p[1+int(p[0]):]
		return s
	}
	if len(p) > 0 {
		c.Wait, c.Wish.TLS, p = p[0]&flagWait != 0, p[0]&(flagTLS|flagLater), p[1:]
	}
	name, c.Wish.Server = word(), word()
	c.Wish.Address = string(p)
	return name, name != "" && p != nil
}

func (k *Keeper) mayClaim(c *claim, text string) (*name, error) {
	if err := k.allowed(c, text); err != nil {
		return nil, err
	}
	n := k.names[text]
	if n == nil {
		if len(k.names) >= k.o.MaxParked {
			now := time.Now()
			maps.DeleteFunc(k.names, func(_ string, n *name) bool {
				return n.session == nil && len(n.Claims) == 0 && !n.dialling && now.After(n.Next)
			})
		}
		if len(k.names) >= k.o.MaxParked {
			return nil, refused{badName, fmt.Errorf("there are %d names already", len(k.names))}
		}
		n = &name{Text: text, UID: c.worker.cred.UID}
		k.names[text] = n
	}
	n.Claims = slices.DeleteFunc(n.Claims, func(c *claim) bool { return !c.worker.keeps() })
	switch {
	case n.UID != c.worker.cred.UID:
		return nil, refused{badName, errors.New("the name is another user's")}
	case c.Wait && len(n.Claims) >= mostClaims:
		return nil, refused{badName, fmt.Errorf("%d wait for it already", len(n.Claims))}
	case c.Wait:
	case len(n.Claims) > 0:
		return nil, refused{badName, fmt.Errorf("worker %s waits for it", n.Claims[0].worker.label())}
	}
	return n, nil
}

// keeps tells whether a worker keeps what it has. That its process has ended may be known before
// that its sockets have. Keeper.mu is held.
func (w *worker) keeps() bool { return w.serves() && (w.process == nil || !exited(w.process)) }

func (k *Keeper) allowed(c *claim, name string) error {
	err := errors.New("this front makes no connections")
	if k.o.Dial != nil {
		err = k.o.Dial.Allow(c.worker.cred, name, c.Wish.Address)
	}
	if err != nil {
		return refused{badAddress, err}
	}
	return nil
}

// match gives the connection of a name to the first who waits for it, or has it made. k.mu and the
// gate are held.
func (k *Keeper) match(n *name) {
	n.Claims = slices.DeleteFunc(n.Claims, func(c *claim) bool { return !c.worker.serves() })
	s := n.session
	switch {
	case len(n.Claims) == 0 || n.dialling || k.life != serving:
	case s == nil:
		n.dialling = true
		k.goOn(func() { k.dial(n) })
	case s.worker != nil:
	case time.Now().Before(n.Claims[0].worker.refused): // again then
	case s.Wish != n.Claims[0].Wish: // of another configuration
		k.drop(s)
	default:
		if s.claim = n.Claims[0]; k.give(s, s.claim.worker) {
			n.Claims = n.Claims[1:]
		}
	}
}

// keep makes a connection wait for a worker that asks for it. k.mu and the gate are held.
func (k *Keeper) keep(s *session) {
	k.match(s.name)
	if s.worker != nil || s.over {
		return
	}
	if k.life != serving { // nobody gets it any more
		k.stats.Expired++
		k.drop(s)
		return
	}
	parked, age := s.parked, defaultUnclaimedAge
	if k.o.Dial != nil {
		age = cmp.Or(k.o.Dial.MaxUnclaimedAge, age)
	}
	s.stay()
	s.expires = time.AfterFunc(time.Until(parked.Add(age)), func() {
		k.locked(func() {
			if !s.over && s.worker == nil && s.parked.Equal(parked) {
				k.stats.Expired++
				k.drop(s)
			}
		})
	})
}

// stay ends that a connection waits. Keeper.mu is held.
func (o *outgoing) stay() {
	if o.expires != nil {
		o.expires.Stop()
	}
}

// bury has what the peer of a connection had sent before it ended, or reset it, read by who gets
// the connection next: then comes the end. The gate is held.
func (s *session) bury() error {
	for p := make([]byte, 64<<10); ; {
		n, ok := readFD(s.fd, p[:min(len(p), MaxPoint-len(s.last.rest)-len(s.last.state))])
		if !ok {
			break
		}
		s.last = &point{rest: append(slices.Clip(s.last.rest), p[:n]...), state: s.last.state}
	}
	here, there, err := streamPair()
	if err != nil {
		return err
	}
	_ = here.Close()
	closeFD(s.fd)
	s.fd, s.kind, s.header.Family, s.header.Protocol = there, ended, syscall.AF_UNIX, 0
	return nil
}

// ended notes that a name has no connection any more. k.mu and the gate are held.
func (k *Keeper) ended(s *session) {
	n := s.name
	n.session = nil
	s.stay()
	if o := k.o.Dial; o != nil && time.Since(s.Since) > cmp.Or(o.LongestPause, defaultLongestPause) {
		n.Tries = 0
	}
	k.pause(n, errors.New("its connection has ended"))
	k.match(n)
}

// pause has a name not be dialled for some time. k.mu is held.
func (k *Keeper) pause(n *name, why error) {
	if k.o.Dial == nil { // the process before has made connections
		return
	}
	longest := cmp.Or(k.o.Dial.LongestPause, defaultLongestPause)
	p := min(cmp.Or(k.o.Dial.Pause, defaultPause)<<min(n.Tries, 20), longest)
	n.Tries, n.failed, n.Next = n.Tries+1, why, time.Now().Add(p/2+rand.N(p))
}

// dial makes connections for those who wait for a name, until one is made.
func (k *Keeper) dial(n *name) {
	var told *claim
	for k.enter() {
		kicked := k.kicked
		k.mu.Lock()
		n.Claims = slices.DeleteFunc(n.Claims, func(c *claim) bool { return !c.worker.serves() })
		if len(n.Claims) == 0 || k.life != serving {
			n.dialling = false
			k.mu.Unlock()
			k.gate.RUnlock()
			return
		}
		c, wait := n.Claims[0], time.Until(n.Next)
		if wait > 0 && told != c {
			told = c
			p := binary.BigEndian.AppendUint64([]byte{kindPause}, c.Number)
			p = binary.BigEndian.AppendUint32(p, uint32(wait.Milliseconds()))
			k.tell(c.worker, append(p, brief(n.failed)...))
		}
		k.mu.Unlock()
		if wait > 0 {
			k.gate.RUnlock()
			select {
			case <-time.After(wait):
			case <-kicked.Done():
			}
			continue
		}
		k.pass("dial")
		s, err := k.connect(kicked, n, c)
		k.pass("dialled")
		if err == nil || kicked.Err() == nil { // else it is dialled again, here or in the next process
			k.mu.Lock()
			k.made(n, c, s, err)
			k.mu.Unlock()
		}
		k.gate.RUnlock()
		if err == nil {
			return
		}
	}
}

// made notes what has become of a claim: a connection or an error. k.mu and the gate are held.
func (k *Keeper) made(n *name, c *claim, s *session, err error) {
	if err != nil {
		n.Claims = slices.DeleteFunc(n.Claims, func(v *claim) bool { return v == c })
		k.pause(n, err)
		k.fail(c, err)
		return
	}
	n.dialling, n.session = false, s
	s.name, s.Name, s.Wish, s.How, s.Since = n, n.Text, c.Wish, isNew, time.Now()
	k.stats.Dialled++
	k.admit(s)
}

// connect makes a connection. The gate is held.
func (k *Keeper) connect(kicked context.Context, n *name, c *claim) (*session, error) {
	if err := k.allowed(c, n.Text); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(kicked, dialLimit)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.Wish.Address)
	if err != nil {
		return nil, refused{unreachable, err}
	}
	tcp := conn.(*net.TCPConn)
	var s *session
	switch c.Wish.TLS {
	case 0:
		s, err = k.direct(&beginning{conn: tcp})
	case flagLater:
		s, err = k.pumped(tcp, tcp, defaultLinger)
	default:
		var client *tls.Conn
		var told []byte
		if client, told, err = k.secure(ctx, tcp, c.Wish); err == nil {
			if s, err = k.pumped(client, tcp, defaultLinger); err == nil {
				s.Facts = told
			}
		}
	}
	if err != nil {
		_ = tcp.Close()
	}
	return s, err
}

// secure begins TLS, and gives what the worker is told of it: version, cipher suite, protocol, and
// the peer's certificate.
func (k *Keeper) secure(ctx context.Context, tcp net.Conn, to wish) (*tls.Conn, []byte, error) {
	config := &tls.Config{}
	if k.o.Dial.TLS != nil {
		config = k.o.Dial.TLS.Clone()
	}
	host, _, _ := net.SplitHostPort(to.Address)
	config.ServerName = cmp.Or(to.Server, config.ServerName, host)
	c := tls.Client(tcp, config)
	err := c.HandshakeContext(ctx)
	if bad := (*tls.CertificateVerificationError)(nil); errors.As(err, &bad) {
		return nil, nil, refused{badCertificate, err}
	} else if err != nil {
		return nil, nil, refused{badTLS, err}
	}
	s := c.ConnectionState()
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, s.Version), s.CipherSuite)
	b = append(append(b, byte(len(s.NegotiatedProtocol))), s.NegotiatedProtocol...)
	return c, append(b, s.PeerCertificates[0].Raw...), nil
}

// beginTLS has TLS begin in a session. k.mu is held.
func (k *Keeper) beginTLS(w *worker, s *session, number uint64) {
	c := &claim{worker: w, Number: number, Wish: s.Wish}
	p, ok := s.pump.(*pump)
	shake := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), dialLimit)
		defer cancel()
		client, told, err := (*tls.Conn)(nil), []byte(nil), error(refused{badTLS, errors.New("the peer has said more before TLS began")})
		if !untaken(p.raw) { // else it would be taken for what was said in secret
			client, told, err = k.secure(ctx, p.tcp, s.Wish)
		}
		k.pass("secured")
		here := k.locked(func() {
			if err != nil {
				k.fail(c, err)
				return
			}
			p.client, s.Facts = client, told
			k.tell(w, append(binary.BigEndian.AppendUint64([]byte{kindBegun}, number), told...))
		})
		if !here && err == nil { // nobody can be told of it: no more without TLS
			err = net.ErrClosed
		}
		return err
	}
	if !ok || s.Wish.TLS != flagLater || k.o.Dial == nil || !p.begin(shake) {
		k.fail(c, refused{badTLS, errors.New("TLS has begun, or cannot in this connection, or after an upgrade of the front")})
	}
}

// fail tells a worker why it does not get what it has asked for. k.mu is held.
func (k *Keeper) fail(c *claim, err error) {
	why := refused{unreachable, err}
	_ = errors.As(err, &why)
	k.o.Log.Warn("a worker gets no connection", "worker", c.worker.label(), "address", c.Wish.Address, "error", err)
	p := append(binary.BigEndian.AppendUint64([]byte{kindFailed}, c.Number), why.reason)
	k.tell(c.worker, append(p, brief(err)...))
}

// tell sends a packet to a worker, later if there is no room. k.mu is held.
func (k *Keeper) tell(w *worker, p []byte) {
	if w.gone || w.control == nil {
		return
	}
	if _, err := w.control.TrySend(p); errors.Is(err, syscall.EAGAIN) {
		time.AfterFunc(tellAgain, func() { k.locked(func() { k.tell(w, p) }) })
	}
}

// locked calls f with the gate and k.mu held; false: this process does not serve any more.
func (k *Keeper) locked(f func()) bool {
	if !k.enter() {
		return false
	}
	defer k.gate.RUnlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
	return true
}

// refusedBy has a worker that could not take a connection get it again after its pause. k.mu is
// held.
func (k *Keeper) refusedBy(w *worker, s *session) {
	if s.claim != nil {
		s.name.Claims = slices.Insert(s.name.Claims, 0, s.claim)
	}
	time.AfterFunc(refusedPause+time.Millisecond, func() {
		k.locked(func() {
			for _, n := range k.names {
				if len(n.Claims) > 0 && n.Claims[0].worker == w {
					k.match(n)
				}
			}
		})
	})
}

// saved is what is written down of a name, with who is about to get its connection. Keeper.mu is
// held.
func (n *name) saved() *name {
	v := *n
	if s := n.session; s != nil && s.worker != nil && slices.Contains(s.worker.out, s) {
		v.Claims = slices.Insert(slices.Clone(n.Claims), 0, s.claim)
	}
	return &v
}

// appendDialled is appendEnvelope for a connection that was made: the number of the claim, how the
// worker gets it, and its TLS are in front of the state.
func appendDialled(b []byte, s *session) []byte {
	b = binary.BigEndian.AppendUint64(append(b, dialMark), s.id)
	b = append(binary.BigEndian.AppendUint64(b, s.claim.Number), s.How)
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(s.Facts))), s.Facts...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.last.state)))
	return append(append(b, s.last.state...), s.last.rest...)
}
