package gate

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/protocol/packets"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/transport"
)

// Which of the two networks.
const (
	outside = 0
	inside  = 1
)

// setupTime is net_setuptime's default: a handshake takes no longer.
const setupTime = 7 * time.Second

// known are the flags of which the gate knows what they do to frames. Others are masked in both
// directions, as are published, so that nodes are hidden to each other, and the atom cache: what is
// refused would leave its atoms in the cache's place.
const knownFlags = (dist.FlagsDefault | dist.FlagUnicodeIO | dist.FlagNameMe) &^ (dist.FlagDistHdrAtomCache | dist.FlagPublished)

// mask gives the flags that may pass. An unfiltered gate passes all.
func (g *Gate) mask() dist.Flags {
	if g.cfg.Unfiltered {
		return ^dist.Flags(0)
	}
	return knownFlags
}

// welcome makes a session of a connection that has come. Until the name is there the gate has said
// nothing: what may take long, TLS, is over then, and another process can go on.
func (d *door) welcome(s *transport.Stream) {
	ctx, cancel := context.WithTimeout(d.g.ctx, d.g.opts.setupTime)
	defer cancel()
	var name protocol.Name
	near, err := packets.New(ctx, s)
	if err == nil {
		name, err = protocol.ReadName(near)
	}
	if err != nil {
		d.fail(s, err)
		return
	}
	hurry, err := d.g.enter(ctx, stray{d, s, near})
	switch {
	case err != nil:
		d.fail(s, err)
		return
	case hurry == nil:
		return
	}
	defer d.g.leave()
	defer context.AfterFunc(hurry, cancel)()
	x, err := d.meet(ctx, s, near, name)
	if err != nil {
		d.fail(s, err)
		return
	}
	d.g.run(x)
}

// enter waits for leave to speak: not while the gate moves. ctx of what is said is to end with
// hurry; nil: the next process goes on with the connection.
func (g *Gate) enter(ctx context.Context, x stray) (hurry context.Context, err error) {
	for {
		g.mu.Lock()
		hurry, stays := g.hurry, g.stays
		if stays == nil {
			g.shaking++
		}
		g.mu.Unlock()
		if stays == nil {
			return hurry, nil
		}
		select {
		case g.strays <- x:
			return nil, nil
		case <-stays:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (g *Gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shaking--
}

// meet connects to the node behind, and passes the handshake through.
func (d *door) meet(ctx context.Context, s *transport.Stream, near *packets.Conn, name protocol.Name) (*session, error) {
	if name.Dynamic() {
		return nil, fmt.Errorf("%w: a node without a name", dist.ErrNotAllowed)
	}
	x := &session{g: d.g, since: time.Now(), names: [2]string{name.Name, d.node.Name}}
	if d.side == outside {
		x.fromInside = true
		x.names[0], x.names[1] = x.names[1], x.names[0]
	}
	if err := d.g.meet(1-d.side, name.Name); err != nil {
		if b, e := protocol.AppendStatus(nil, protocol.StatusMessage{Status: protocol.StatusNotAllowed}); e == nil {
			_ = near.WritePackets(b)
		}
		return nil, fmt.Errorf("%s: %w", name.Name, err)
	}
	behind, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	far, err := packets.New(ctx, behind)
	if err == nil {
		err = d.shake(ctx, x, s, near, far, name)
	}
	if err == nil {
		err = errors.Join(s.HandshakeComplete(ctx, false), behind.HandshakeComplete(ctx, true))
	}
	if err != nil {
		_ = behind.Close()
		return nil, err
	}
	x.ends[1-d.side], x.ends[d.side] = newEnd(s), newEnd(behind)
	return x, nil
}

// dial connects to the node behind.
func (d *door) dial(ctx context.Context) (*transport.Stream, error) {
	far := d.g.cfg.sides()[d.side]
	text := d.node.Address
	if text == "" {
		alive, host, err := dist.SplitName(d.node.Name)
		if err != nil {
			return nil, err
		}
		info, err := (&epmd.Client{Addr: far.PortMapper}).Resolve(ctx, host, alive)
		if err != nil {
			return nil, err
		}
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return nil, err
		}
		ip := ips[0]
		if i := slices.IndexFunc(ips, func(ip netip.Addr) bool { return ip.Unmap().Is4() }); i >= 0 { // as OTP's default does
			ip = ips[i]
		}
		text = net.JoinHostPort(ip.Unmap().String(), fmt.Sprint(info.Port))
	}
	addr, err := address(text)
	if err != nil {
		return nil, err
	}
	s, err := d.g.over(d.side, addr).Connect(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("connect %s: %w", d.node.Name, err)
	}
	return s, nil
}

// shake passes the handshake through, message by message: names, statuses, challenges, flags and
// creations stay, the digests are made anew. near has connected, far is the node behind. Neither
// gets a digest before it has given its own.
func (d *door) shake(ctx context.Context, x *session, s *transport.Stream, near, far *packets.Conn, name protocol.Name) error {
	mask := d.g.mask()
	nearSide, farSide := d.g.cfg.sides()[1-d.side], d.g.cfg.sides()[d.side]
	nearCookie, farCookie := nearSide.cookieOf(name.Name), farSide.cookieOf(d.node.Name)
	name.Flags &= mask
	p, err := protocol.AppendName(nil, name)
	if err == nil {
		err = far.WritePackets(p)
	}
	if err == nil {
		err = d.passStatus(near, far, name.Name)
	}
	if err == nil {
		err = s.CheckPeer(ctx, name.Name)
	}
	if err != nil {
		return err
	}
	p, err = far.ReadPacket()
	if err != nil {
		return fmt.Errorf("challenge of %s: %w", d.node.Name, err)
	}
	ch, err := protocol.ParseChallenge(p)
	if err != nil {
		return err
	}
	if ch.Name != d.node.Name {
		return fmt.Errorf("%w: %s", dist.ErrWrongPeer, ch.Name)
	}
	forget, err := d.g.challenge(ch.Challenge)
	if err != nil {
		return err
	}
	defer forget()
	ch.Flags &= mask
	if p, err = protocol.AppendChallenge(nil, ch); err == nil {
		err = near.WritePackets(p)
	}
	if err != nil {
		return err
	}
	var out [][]byte
	if name.Version == dist.Version5 {
		if p, err = near.ReadPacket(); err != nil {
			return err
		}
		c, err := protocol.ParseComplement(p)
		if err != nil {
			return err
		}
		c.Flags = (c.Flags | name.Flags) & mask
		name.Flags, name.Creation = c.Flags, c.Creation
		out = append(out, protocol.AppendComplement(nil, c))
	}
	if p, err = near.ReadPacket(); err != nil {
		return fmt.Errorf("digest of %s: %w", name.Name, err)
	}
	reply, err := protocol.ParseReply(p)
	if err != nil {
		return err
	}
	if !isDigest(reply.Digest, nearCookie, ch.Challenge) {
		return fmt.Errorf("%s: %w", name.Name, dist.ErrBadCookie)
	}
	forgetReply, err := d.g.challenge(reply.Challenge)
	if err != nil {
		return err
	}
	defer forgetReply()
	out = append(out, protocol.AppendReply(nil, protocol.Reply{Challenge: reply.Challenge, Digest: protocol.Digest(farCookie, ch.Challenge)}))
	if err := far.WritePackets(out...); err != nil {
		return err
	}
	if p, err = far.ReadPacket(); err != nil {
		return fmt.Errorf("digest of %s (is its cookie another one?): %w", d.node.Name, err)
	}
	ack, err := protocol.ParseAck(p)
	if err != nil {
		return err
	}
	if !isDigest(ack, farCookie, reply.Challenge) {
		return fmt.Errorf("%s: %w", d.node.Name, dist.ErrBadCookie)
	}
	if x.known, err = d.g.acquaintance(x.names[outside]); err != nil {
		return err
	}
	x.flags = name.Flags.Negotiate(ch.Flags)
	return near.WritePackets(protocol.AppendAck(nil, protocol.Digest(nearCookie, reply.Challenge)))
}

// isDigest takes as long for a digest that is almost right as for any other.
func isDigest(digest [16]byte, cookie string, challenge uint32) bool {
	want := protocol.Digest(cookie, challenge)
	return subtle.ConstantTimeCompare(digest[:], want[:]) == 1
}

// passStatus passes the status, and what follows one of alive.
func (d *door) passStatus(near, far *packets.Conn, name string) error {
	p, err := far.ReadPacket()
	if err != nil {
		return fmt.Errorf("status of %s: %w", d.node.Name, err)
	}
	st, err := protocol.ParseStatus(p)
	if err != nil {
		return err
	}
	if err := near.WritePackets(p); err != nil {
		return err
	}
	switch st.Status {
	case protocol.StatusOK, protocol.StatusOKSimultaneous:
		return nil
	case protocol.StatusAlive:
		if p, err = near.ReadPacket(); err != nil {
			return err
		}
		if st, err = protocol.ParseStatus(p); err != nil {
			return err
		}
		if err := far.WritePackets(p); err != nil {
			return err
		}
		if st.Status != protocol.StatusTrue {
			return fmt.Errorf("%s to %s: %w", name, d.node.Name, dist.ErrAlive)
		}
		return nil
	}
	return fmt.Errorf("%s says %s to %s", d.node.Name, st.Status, name)
}

// challenge remembers a challenge that passes through. One that is on its way already is reflected
// by somebody who wants its digest from the gate.
func (g *Gate) challenge(c uint32) (forget func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.challenges[c] > 0 {
		return nil, dist.ErrReflected
	}
	g.challenges[c]++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.challenges, c)
	}, nil
}
