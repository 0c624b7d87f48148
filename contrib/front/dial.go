package front

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/bind10"
)

// DialOptions say which connections workers may have made. The Keeper knows them by names, and
// gives one to whoever asks for its name: at first the worker that it was made for, and when that
// one's process is gone, the next. A name belongs to the user whose worker has asked for it first,
// and one worker at a time has its connection.
type DialOptions struct {
	// Allow says whether a worker may have a connection to an address, HOST:PORT, by a name. An error
	// refuses it. Mandatory.
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
	tellAgain           = 20 * time.Millisecond
)

func (o DialOptions) complete() *DialOptions {
	or := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	or(&o.MaxUnclaimedAge, defaultUnclaimedAge)
	or(&o.Pause, defaultPause)
	or(&o.LongestPause, defaultLongestPause)
	return &o
}

// The packets of connections that are made; see docs/reference/front-protocol.md.
const (
	kindOpen   = 'o' // worker: number, flags, and what it wants
	kindFailed = 'g' // front: number, reason, text
	kindBegin  = 's' // worker: session, number: TLS is to begin
	kindBegun  = 'v' // front: number, and what the session is told of TLS
	kindPause  = 'y' // front: number, ms until the name is dialled, and why it is not at once

	dialMark = 0xC6 // in place of envelopeMark
	dials    = 1    // of welcome

	flagWait  = 1 // of kindOpen: not an error if another worker has the connection
	flagTLS   = 2 // it has TLS from its beginning on
	flagLater = 4 // TLS begins when the worker says so
)

// Reasons of kindFailed.
const (
	refusedAddress     byte = 1 + iota // it is not allowed
	refusedName                        // another worker has its connection, or another user the name
	refusedUnreachable                 // it was dialled in vain
	refusedCertificate                 // the peer's is not the one of that name
	refusedTLS                         // there is no TLS, for another reason
)

// How a worker gets a connection.
const (
	isNew   = 1 + iota
	isKept  // a worker before has told points of it
	isEnded // the peer has ended it while nobody had it
)

// A refusal says why there is no connection.
type refused struct {
	reason byte
	error
}

// A wish is what a connection is to be like.
type wish struct {
	Address string
	TLS     byte   // flagTLS, flagLater or 0
	Server  string // whose certificate the peer must have
}

// A claim is a worker's wish for the connection of a name.
type claim struct {
	worker *worker
	number uint64
	wait   bool
	wish
}

// A name is what workers know a connection by.
type name struct {
	text     string
	uid      int      // whose workers may have it
	session  *session // nil: there is none
	claims   []*claim // by those who wait for it
	dialling bool
	failed   error     // the last time
	tries    int       // connections in turn that were not made, or did not last
	next     time.Time // it is not dialled before
}

// outgoing is what a session knows of how it was made.
type outgoing struct {
	name  *name
	wish  wish
	claim *claim // who gets it, or has got it last
	facts []byte // of its TLS
	how   byte
	since time.Time
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
	if len(p) == 0 {
		return "", false
	}
	c.wait, c.TLS = p[0]&flagWait != 0, p[0]&(flagTLS|flagLater)
	p = p[1:]
	name, c.Server = word(), word()
	c.Address = string(p)
	return name, name != "" && p != nil
}

// claim gives a worker the connection of a name, or has it made. k.mu and the gate are held.
func (k *Keeper) claim(w *worker, p packet) {
	c := &claim{worker: w, number: p.id}
	text, ok := c.read(p.data)
	if !ok {
		return
	}
	n, err := k.mayClaim(c, text)
	if err != nil {
		k.fail(c, err)
		return
	}
	n.claims = append(n.claims, c)
	k.match(n)
	k.dispatch()
}

func (k *Keeper) allowed(c *claim, name string) error {
	if k.o.Dial == nil {
		return refused{refusedAddress, errors.New("this front makes no connections")}
	}
	if err := k.o.Dial.Allow(c.worker.cred, name, c.Address); err != nil {
		return refused{refusedAddress, err}
	}
	return nil
}

func (k *Keeper) mayClaim(c *claim, text string) (*name, error) {
	if err := k.allowed(c, text); err != nil {
		return nil, err
	}
	n := k.names[text]
	if n == nil {
		if len(k.names) >= k.o.MaxParked {
			k.sweepNames()
		}
		if len(k.names) >= k.o.MaxParked {
			return nil, refused{refusedName, fmt.Errorf("there are %d names already", len(k.names))}
		}
		n = &name{text: text, uid: c.worker.cred.UID}
		k.names[text] = n
	}
	n.claims = slices.DeleteFunc(n.claims, func(c *claim) bool { return !c.worker.has() })
	switch {
	case n.uid != c.worker.cred.UID:
		return nil, refused{refusedName, errors.New("the name is another user's")}
	case c.wait:
	case n.session != nil && n.session.holder() != nil:
		return nil, refused{refusedName, fmt.Errorf("worker %s has it", n.session.holder().label())}
	case len(n.claims) > 0:
		return nil, refused{refusedName, fmt.Errorf("worker %s waits for it", n.claims[0].worker.label())}
	}
	return n, nil
}

// holder is the worker that has, or is about to get, a connection, and does not leave; nil: none.
func (s *session) holder() *worker {
	if w := s.worker; w != nil && w.has() {
		return w
	} else if w == nil && s.claim != nil && s.claim.worker.has() {
		return s.claim.worker
	}
	return nil
}

// has tells whether a worker keeps what it has. That its process has ended may be known before
// that its sockets have. Keeper.mu is held.
func (w *worker) has() bool { return w.serves() && (w.process == nil || !exited(w.process)) }

// sweepNames forgets names of which nothing is left. k.mu is held.
func (k *Keeper) sweepNames() {
	now := time.Now()
	for text, n := range k.names {
		if n.session == nil && len(n.claims) == 0 && !n.dialling && now.After(n.next) {
			delete(k.names, text)
		}
	}
}

// match has the connection of a name given to the first who waits for it, or has it made. k.mu is
// held; whoever calls it also calls dispatch.
func (k *Keeper) match(n *name) {
	n.claims = slices.DeleteFunc(n.claims, func(c *claim) bool { return !c.worker.serves() })
	s := n.session
	switch {
	case len(n.claims) == 0 || n.dialling || k.life != serving:
	case s == nil:
		n.dialling = true
		k.goOn(func() { k.dial(n) })
	case s.worker != nil || s.claim != nil:
	case s.wish != n.claims[0].wish: // of another configuration
		k.drop(s)
	default:
		s.claim, n.claims, s.parked = n.claims[0], n.claims[1:], time.Now()
		k.queue = append(k.queue, s)
	}
}

// keep makes a connection wait for a worker that asks for it. k.mu is held.
func (k *Keeper) keep(s *session) {
	s.claim = nil
	k.expireUnclaimed(s)
	k.match(s.name)
}

func (k *Keeper) expireUnclaimed(s *session) {
	parked, age := s.parked, defaultUnclaimedAge
	if k.o.Dial != nil {
		age = k.o.Dial.MaxUnclaimedAge
	}
	time.AfterFunc(time.Until(parked.Add(age)), func() {
		if !k.enter() {
			return
		}
		defer k.gate.RUnlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if !s.over && s.worker == nil && s.claim == nil && s.parked.Equal(parked) {
			k.stats.Expired++
			k.drop(s)
		}
	})
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

// unclaim takes connections from a worker that is gone before it has got them. k.mu is held.
func (k *Keeper) unclaim(w *worker) {
	var left []*name
	k.queue = slices.DeleteFunc(k.queue, func(s *session) bool {
		is := s.name != nil && s.claim.worker == w
		if is {
			s.claim = nil
			left = append(left, s.name)
		}
		return is
	})
	for _, n := range left {
		k.match(n)
	}
}

// ended notes that a name has no connection any more. k.mu is held.
func (k *Keeper) ended(s *session) {
	n := s.name
	if s.worker == nil && s.claim != nil { // who was to get it
		n.claims = slices.Insert(n.claims, 0, s.claim)
	}
	n.session = nil
	if o := k.o.Dial; o != nil && time.Since(s.since) > o.LongestPause {
		n.tries = 0
	}
	n.pause(k.o.Dial, errors.New("its connection has ended"))
	k.match(n)
}

func (n *name) pause(o *DialOptions, why error) {
	if o == nil { // the process before has made connections
		return
	}
	p := min(o.Pause<<min(n.tries, 30), o.LongestPause)
	n.tries, n.failed = n.tries+1, why
	n.next = time.Now().Add(p/2 + rand.N(p))
}

// dial makes the connections of a name until it has one, or nobody waits for it.
func (k *Keeper) dial(n *name) {
	var told *claim
	for {
		if !k.enter() {
			return
		}
		kicked := k.kicked
		k.mu.Lock()
		n.claims = slices.DeleteFunc(n.claims, func(c *claim) bool { return !c.worker.serves() })
		if len(n.claims) == 0 || k.life != serving {
			n.dialling = false
			k.mu.Unlock()
			k.gate.RUnlock()
			return
		}
		c, wait := n.claims[0], time.Until(n.next)
		if wait > 0 && told != c {
			told = c
			p := binary.BigEndian.AppendUint64([]byte{kindPause}, c.number)
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
		s, err := k.connect(kicked, n, c)
		if err == nil || kicked.Err() == nil {
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
		n.claims = slices.DeleteFunc(n.claims, func(v *claim) bool { return v == c })
		n.pause(k.o.Dial, err)
		k.fail(c, err)
		return
	}
	n.dialling, n.session = false, s
	s.outgoing = outgoing{name: n, wish: c.wish, facts: s.facts, how: isNew, since: time.Now()}
	k.stats.Dialled++
	k.admit(s)
}

// connect makes a connection. The gate is held.
func (k *Keeper) connect(kicked context.Context, n *name, c *claim) (*session, error) {
	if err := k.allowed(c, n.text); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(kicked, dialLimit)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.Address)
	if err != nil {
		return nil, refused{refusedUnreachable, err}
	}
	if c.TLS != 0 {
		s, err := k.secure(ctx, c.wish, conn.(*net.TCPConn))
		if err != nil {
			_ = conn.Close()
		}
		return s, err
	}
	defer conn.Close() // the duplicate stays
	fd, err := duplicate(conn.(syscall.Conn))
	if err != nil {
		return nil, refused{refusedUnreachable, err}
	}
	s := &session{fd: fd}
	if s.header, err = bind10.Describe(fd, nil); err != nil {
		closeFD(fd)
		return nil, refused{refusedUnreachable, err}
	}
	return s, nil
}

// secure makes a connection with TLS, or one in which it may begin.
func (k *Keeper) secure(ctx context.Context, to wish, conn *net.TCPConn) (s *session, err error) {
	if to.TLS != flagTLS {
		return k.pumped(conn, conn, defaultLinger)
	}
	c := tls.Client(conn, k.o.Dial.config(to))
	if err = c.HandshakeContext(ctx); err != nil {
		return nil, insecure(err)
	}
	if s, err = k.pumped(c, conn, defaultLinger); err == nil {
		s.facts = facts(c)
	}
	return s, err
}

func (o *DialOptions) config(to wish) *tls.Config {
	config := &tls.Config{}
	if o.TLS != nil {
		config = o.TLS.Clone()
	}
	if to.Server != "" {
		config.ServerName = to.Server
	} else if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(to.Address)
	}
	return config
}

func insecure(err error) error {
	if bad := (*tls.CertificateVerificationError)(nil); errors.As(err, &bad) {
		return refused{refusedCertificate, err}
	}
	return refused{refusedTLS, err}
}

// facts are what a worker is told of TLS: version, cipher suite, protocol, and the peer's
// certificate.
func facts(c *tls.Conn) []byte {
	s := c.ConnectionState()
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, s.Version), s.CipherSuite)
	b = append(append(b, byte(len(s.NegotiatedProtocol))), s.NegotiatedProtocol...)
	return append(b, s.PeerCertificates[0].Raw...)
}

// A begin has a pump begin TLS.
type begin struct {
	config *tls.Config
	behind func() bool // the worker has not read all that has come in plain text
	done   func(facts []byte, err error)
}

// begun does the handshake, if one was asked for, in place of reading. false: the session ends.
func (p *pump) begun() bool {
	var b begin
	select {
	case b = <-p.begins:
	default:
		return false
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	_ = p.tcp.SetReadDeadline(time.Time{})
	if b.behind() { // it must not be taken for what was said in secret
		b.done(nil, refused{refusedTLS, errors.New("the peer has said more before TLS began")})
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialLimit)
	defer cancel()
	c := tls.Client(p.tcp, b.config)
	if err := c.HandshakeContext(ctx); err != nil {
		b.done(nil, insecure(err))
		return false
	}
	p.client = c
	b.done(facts(c), nil)
	return true
}

// beginTLS begins TLS in a session. k.mu is held.
func (k *Keeper) beginTLS(w *worker, s *session, number uint64) {
	c := &claim{worker: w, number: number, wish: s.wish}
	p, ok := s.pump.(*pump)
	if !ok || s.wish.TLS != flagLater || s.facts != nil || k.o.Dial == nil {
		k.fail(c, refused{refusedTLS, errors.New("TLS cannot begin in this connection, or after an upgrade of the front")})
		return
	}
	locked := func(f func()) {
		if !k.enter() {
			return
		}
		defer k.gate.RUnlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		f()
	}
	b := begin{config: k.o.Dial.config(s.wish)}
	b.behind = func() (is bool) {
		is = true
		locked(func() {
			if !s.over {
				n, err := unread(s.fd)
				is = err != nil || n > 0
			}
		})
		return is
	}
	b.done = func(facts []byte, err error) {
		locked(func() {
			if s.facts = facts; err != nil {
				k.fail(c, err)
				return
			}
			k.tell(w, append(binary.BigEndian.AppendUint64([]byte{kindBegun}, number), facts...))
		})
	}
	select {
	case p.begins <- b:
		_ = p.tcp.SetReadDeadline(time.Unix(1, 0))
	default:
		k.fail(c, refused{refusedTLS, errors.New("TLS begins already")})
	}
}

// fail tells a worker why it does not get a connection. k.mu is held.
func (k *Keeper) fail(c *claim, err error) {
	reason := refusedUnreachable
	if r := (refused{}); errors.As(err, &r) {
		reason = r.reason
	}
	k.o.Log.Warn("a worker gets no connection", "worker", c.worker.label(), "address", c.Address, "error", err)
	p := binary.BigEndian.AppendUint64([]byte{kindFailed}, c.number)
	k.tell(c.worker, append(append(p, reason), brief(err)...))
}

// tell sends a packet to a worker, later if there is no room. k.mu is held.
func (k *Keeper) tell(w *worker, p []byte) {
	if w.gone || w.control == nil {
		return
	}
	if _, err := w.control.TrySend(p); errors.Is(err, syscall.EAGAIN) {
		time.AfterFunc(tellAgain, func() {
			if !k.enter() {
				return
			}
			defer k.gate.RUnlock()
			k.mu.Lock()
			defer k.mu.Unlock()
			k.tell(w, p)
		})
	}
}

// save writes a name down. waits: the sessions that are with no worker. Keeper.mu is held.
func (n *name) save(waits map[uint64]bool) savedName {
	v := savedName{Name: n.text, UID: n.uid, Tries: n.tries, Next: n.next}
	claims := n.claims
	if s := n.session; s != nil && s.claim != nil && waits[s.id] {
		claims = slices.Insert(slices.Clone(claims), 0, s.claim)
	}
	for _, c := range claims {
		v.Claims = append(v.Claims, savedClaim{c.worker.id, c.number, c.wait, c.wish})
	}
	return v
}

// readName reads a name, whose workers have been read. k.mu is held.
func (k *Keeper) readName(v savedName) {
	n := &name{text: v.Name, uid: v.UID, tries: v.Tries, next: v.Next}
	for _, c := range v.Claims {
		for _, w := range k.workers {
			if w.id == c.Worker {
				n.claims = append(n.claims, &claim{w, c.Number, c.Wait, c.Wish})
			}
		}
	}
	k.names[n.text] = n
}

func brief(err error) string {
	const most = 1000
	if err == nil {
		return ""
	}
	s := strings.ToValidUTF8(err.Error(), "?")
	return s[:min(len(s), most)]
}

// appendDialled is appendEnvelope for a connection that was made: the number of the claim, and how
// the worker gets it, are in front of the state.
func appendDialled(b []byte, s *session) []byte {
	b = binary.BigEndian.AppendUint64(append(b, dialMark), s.id)
	b = append(binary.BigEndian.AppendUint64(b, s.claim.number), s.how)
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(s.facts))), s.facts...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.last.state)))
	return append(append(b, s.last.state...), s.last.rest...)
}
