package tsockettest

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/remains"
	"github.com/cnode-go/cnode/transport/tsocket"
)

// TestMain fails when the suite leaves a goroutine or a descriptor behind.
func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// udp opens two UDP sockets and wraps the first, or both.
func udp(wrap func(*tsocket.Datagram) tsocket.Socket) Factory {
	return func() (one, other tsocket.Socket, err error) {
		var ds [2]tsocket.Socket
		for i := range ds {
			at, err := transport.ParseInet("ipv4", "127.0.0.1", 0)
			if err != nil {
				return nil, nil, err
			}
			d, err := tsocket.OpenUDP(at, nil)
			if err != nil {
				return nil, nil, err
			}
			if ds[i] = d; wrap != nil {
				ds[i] = wrap(d)
			}
		}
		return ds[0], ds[1], nil
	}
}

func TestGoodDatagramsPass(t *testing.T) {
	Run(t, udp(nil))
	require.NoError(t, Check(udp(nil)))
}

// Datagram sockets, each with one fault.
type (
	silentlyShort struct{ *tsocket.Datagram }
	wrongSender   struct{ *tsocket.Datagram }
	sendsEmpty    struct{ *tsocket.Datagram }
	deaf          struct{ *tsocket.Datagram } // ignores contexts
	patient       struct {                    // waits where it should return ErrBusy
		*tsocket.Datagram
		mu *sync.Mutex
	}
	lazy struct { // sends a datagram only together with the next one
		*tsocket.Datagram
		kept *keptDatagram
	}
	forgetful struct{ *tsocket.Datagram } // forgets the buffer's length
	rude      struct{ *tsocket.Datagram } // disconnects although operations are in flight
	vague     struct{ *tsocket.Datagram } // does not tell how it ended
	miscounts struct{ *tsocket.Datagram }
	nowhere   struct{ *tsocket.Datagram }
	early     struct{ *tsocket.Datagram }
	joiner    struct {
		*tsocket.Datagram
		rest *[]byte
	}
	panics    struct{ *tsocket.Datagram }
	greedy    struct{ *tsocket.Datagram } // takes a datagram although the buffer is empty
	reckless  struct{ *tsocket.Datagram } // sends although the context has ended
	listening struct {                    // sends nothing while it receives
		*tsocket.Datagram
		mu *sync.RWMutex
	}
)

func (d silentlyShort) RecvFrom(ctx context.Context, p []byte) (int, transport.Addr, error) {
	n, from, err := d.Datagram.RecvFrom(ctx, p)
	if errors.Is(err, syscall.EMSGSIZE) {
		err = nil
	}
	return n, from, err
}

func (d wrongSender) RecvFrom(ctx context.Context, p []byte) (int, transport.Addr, error) {
	n, _, err := d.Datagram.RecvFrom(ctx, p)
	return n, d.LocalAddr(), err
}

func (d sendsEmpty) SendTo(ctx context.Context, p []byte, to transport.Addr) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return d.Datagram.SendTo(ctx, p, to)
}

func (d deaf) RecvFrom(ctx context.Context, p []byte) (int, transport.Addr, error) {
	if ctx.Done() != nil && ctx.Err() == nil {
		if _, ok := ctx.Deadline(); ok {
			ctx = context.WithoutCancel(ctx)
		}
	}
	return d.Datagram.RecvFrom(ctx, p)
}

func (d patient) RecvFrom(ctx context.Context, p []byte) (int, transport.Addr, error) {
	for !d.mu.TryLock() {
		if ctx == transport.NoWait() {
			return 0, nil, context.DeadlineExceeded
		}
		time.Sleep(time.Millisecond)
	}
	defer d.mu.Unlock()
	return d.Datagram.RecvFrom(ctx, p)
}

// A keptDatagram is a datagram that is still to be sent, from its sender's own buffer.
type keptDatagram struct {
	p  []byte
	to transport.Addr
}

func (d lazy) SendTo(ctx context.Context, p []byte, to transport.Addr) (int, error) {
	if before := *d.kept; before.p != nil {
		if _, err := d.Datagram.SendTo(ctx, before.p, before.to); err != nil {
			return 0, err
		}
	}
	*d.kept = keptDatagram{p, to}
	return len(p), nil
}

func (d forgetful) RecvFrom(ctx context.Context, p []byte) (int, transport.Addr, error) {
	n, from, err := d.Datagram.RecvFrom(ctx, p)
	if err == nil && cap(p) > n {
		p[:n+1][n] = 0
	}
	return n, from, err
}

func (d rude) Disconnect() error {
	if err := d.Datagram.Disconnect(); errors.Is(err, transport.ErrBusy) {
		return d.Close()
	} else {
		return err
	}
}

func (d vague) RecvFrom(ctx context.Context, p []byte) (int, transport.Addr, error) {
	n, from, err := d.Datagram.RecvFrom(ctx, p)
	if errors.Is(err, net.ErrClosed) {
		err = errors.New("something happened")
	}
	return n, from, err
}

func (d miscounts) SendTo(ctx context.Context, p []byte, to transport.Addr) (int, error) {
	n, err := d.Datagram.SendTo(ctx, p, to)
	return min(n, 1), err
}

func (d nowhere) SendTo(ctx context.Context, p []byte, to transport.Addr) (int, error) {
	if to == nil {
		return len(p), nil
	}
	return d.Datagram.SendTo(ctx, p, to)
}

func (d early) RecvFrom(ctx context.Context, p []byte) (int, transport.Addr, error) {
	if ctx != transport.NoWait() {
		return d.Datagram.RecvFrom(ctx, p)
	}
	return 0, nil, context.DeadlineExceeded
}

// RecvFrom returns the rest of a datagram as the next one, as in a stream.
func (d joiner) RecvFrom(ctx context.Context, p []byte) (int, transport.Addr, error) {
	if len(*d.rest) > 0 {
		n := copy(p, *d.rest)
		*d.rest = (*d.rest)[n:]
		return n, d.LocalAddr(), nil
	}
	buf := make([]byte, 2000)
	n, from, err := d.Datagram.RecvFrom(ctx, buf[:max(len(p), min(len(p)*2000, 2000))])
	k := copy(p, buf[:n])
	*d.rest = buf[k:n]
	return k, from, err
}

func (d panics) Disconnect() error { panic("not implemented") }

func (d greedy) RecvFrom(ctx context.Context, p []byte) (int, transport.Addr, error) {
	if len(p) == 0 {
		_, _, _ = d.Datagram.RecvFrom(ctx, make([]byte, 1))
	}
	return d.Datagram.RecvFrom(ctx, p)
}

func (d reckless) SendTo(ctx context.Context, p []byte, to transport.Addr) (int, error) {
	n, err := d.Datagram.SendTo(context.WithoutCancel(ctx), p, to)
	if ended := ctx.Err(); ended != nil {
		return 0, ended
	}
	return n, err
}

// A stubborn socket waits for room, whatever its context says.
type stubborn struct {
	*tsocket.Datagram
	room, over chan struct{}
}

func newStubborn(d *tsocket.Datagram) stubborn {
	return stubborn{d, make(chan struct{}, 5), make(chan struct{})}
}

func (d stubborn) SendTo(ctx context.Context, p []byte, to transport.Addr) (int, error) {
	select {
	case d.room <- struct{}{}:
		return d.Datagram.SendTo(ctx, p, to)
	case <-d.over:
		return 0, net.ErrClosed
	}
}

func (d stubborn) Close() error { close(d.over); return d.Datagram.Close() }

// A littering socket leaves a descriptor.
type littering struct{ *tsocket.Datagram }

// litter is what these have left.
var litter struct {
	sync.Mutex
	files []*os.File
}

func (d littering) Close() error {
	f, err := os.Open(os.DevNull)
	litter.Lock()
	defer litter.Unlock()
	litter.files = append(litter.files, f)
	return errors.Join(err, d.Datagram.Close())
}

func (d listening) RecvFrom(ctx context.Context, p []byte) (int, transport.Addr, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.Datagram.RecvFrom(ctx, p)
}

func (d listening) SendTo(ctx context.Context, p []byte, to transport.Addr) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.Datagram.SendTo(ctx, p, to)
}

// A mutant is a good datagram socket with one rule broken.
type mutant struct {
	rule string
	wrap func(*tsocket.Datagram) tsocket.Socket
}

func mutants() []mutant {
	return []mutant{
		{"ShortBuffer", func(d *tsocket.Datagram) tsocket.Socket { return silentlyShort{d} }},
		{"ShortBuffer", func(d *tsocket.Datagram) tsocket.Socket { return joiner{d, new([]byte)} }},
		{"Datagram", func(d *tsocket.Datagram) tsocket.Socket { return wrongSender{d} }},
		{"Datagram", func(d *tsocket.Datagram) tsocket.Socket { return miscounts{d} }},
		{"EmptySend", func(d *tsocket.Datagram) tsocket.Socket { return sendsEmpty{d} }},
		{"Cancel", func(d *tsocket.Datagram) tsocket.Socket { return deaf{d} }},
		{"Deadline", func(d *tsocket.Datagram) tsocket.Socket { return deaf{d} }},
		{"Busy", func(d *tsocket.Datagram) tsocket.Socket { return patient{d, new(sync.Mutex)} }},
		{"SendersBuffer", func(d *tsocket.Datagram) tsocket.Socket { return lazy{d, new(keptDatagram)} }},
		{"SendersBuffer", func(d *tsocket.Datagram) tsocket.Socket { return inPlace{d} }},
		{"Boundaries", func(d *tsocket.Datagram) tsocket.Socket { return forgetful{d} }},
		{"DisconnectBusy", func(d *tsocket.Datagram) tsocket.Socket { return rude{d} }},
		{"Close", func(d *tsocket.Datagram) tsocket.Socket { return vague{d} }},
		{"CloseEndsReceive", func(d *tsocket.Datagram) tsocket.Socket { return vague{d} }},
		{"NoDestination", func(d *tsocket.Datagram) tsocket.Socket { return nowhere{d} }},
		{"NoWait", func(d *tsocket.Datagram) tsocket.Socket { return early{d} }},
		{"Disconnect", func(d *tsocket.Datagram) tsocket.Socket { return panics{d} }},
		{"EmptyBuffer", func(d *tsocket.Datagram) tsocket.Socket { return greedy{d} }},
		{"EndedContext", func(d *tsocket.Datagram) tsocket.Socket { return reckless{d} }},
		{"CancelSend", func(d *tsocket.Datagram) tsocket.Socket { return newStubborn(d) }},
		{"LeakedDescriptors", func(d *tsocket.Datagram) tsocket.Socket { return littering{d} }},
		{"BothWays", func(d *tsocket.Datagram) tsocket.Socket { return listening{d, new(sync.RWMutex)} }},
	}
}

// inPlace seals a datagram in its sender's buffer.
type inPlace struct{ *tsocket.Datagram }

func (d inPlace) SendTo(ctx context.Context, p []byte, to transport.Addr) (int, error) {
	sealed := bytes.Clone(p)
	for i := range p {
		p[i] ^= 0x5a
	}
	return d.Datagram.SendTo(ctx, sealed, to)
}

// Each rule is broken by a mutant, so that no rule is superfluous.
func TestEveryDatagramRuleHasAMutant(t *testing.T) {
	broken := map[string]bool{}
	for _, m := range mutants() {
		broken[m.rule] = true
	}
	for _, r := range rules() {
		require.True(t, broken[r.name], "no mutant breaks %s", r.name)
		delete(broken, r.name)
	}
	require.Empty(t, broken, "there are no such rules")
}

// Each fault is found, under the name of its rule.
func TestDatagramMutantsAreCaught(t *testing.T) {
	t.Cleanup(func() {
		for _, f := range litter.files {
			f.Close()
		}
	})
	for _, tt := range mutants() {
		t.Run(tt.rule, func(t *testing.T) {
			if tt.rule == "LeakedDescriptors" && remains.Descriptors() == nil {
				t.Skip("open descriptors cannot be counted here")
			}
			for _, r := range rules() {
				if r.name != tt.rule {
					continue
				}
				var broken *RuleError
				require.ErrorAs(t, r.check(udp(tt.wrap), 300*time.Millisecond), &broken)
				require.Equal(t, tt.rule, broken.Rule)
				require.ErrorContains(t, broken, r.sentence)
			}
		})
	}
	require.Error(t, Check(func() (one, other tsocket.Socket, err error) { return nil, nil, syscall.EMFILE }))
	err := check(udp(func(d *tsocket.Datagram) tsocket.Socket { return sendsEmpty{d} }), generous())
	require.ErrorContains(t, err, "EmptySend")
	require.NotContains(t, err.Error(), "Boundaries")
}

// everDeaf ignores contexts, and so does not end.
type everDeaf struct{ *tsocket.Datagram }

func (d everDeaf) RecvFrom(ctx context.Context, p []byte) (int, transport.Addr, error) {
	return d.Datagram.RecvFrom(context.WithoutCancel(ctx), p)
}

// A suite that has repeatedly waited in vain does not try the remaining rules.
func TestDatagramsThatHang(t *testing.T) {
	l := limits{patience: 500 * time.Millisecond, starved: 2}
	err := check(udp(func(d *tsocket.Datagram) tsocket.Socket { return everDeaf{d} }), l)
	require.ErrorContains(t, err, "a cancelled RecvFrom, in place of the context's error: RecvFrom: no end after 500ms")
	require.ErrorContains(t, err, "the rules after Cancel were not tried: 2 rules have waited in vain")
}
