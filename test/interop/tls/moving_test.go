//go:build unix

package tls

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
)

type callbacks = transport.Callbacks[*tlstransport.Socket]

// A mover is a session that moves, from one socket of the plug-in to another, whenever it is told
// to. Its users notice nothing.
type mover struct {
	cb    callbacks
	calls sync.RWMutex // read-locked by each call in flight; a move locks it
	s     *tlstransport.Socket
	now   atomic.Pointer[tlstransport.Socket] // for Interrupt, which comes during calls
}

func newMover(cb callbacks, s *tlstransport.Socket) *mover {
	m := &mover{cb: cb, s: s}
	m.now.Store(s)
	return m
}

// do makes a call. A call that a move has ended looks like a time-out, which the SDK takes for its
// own, so it makes the call again.
func (m *mover) do(call func(s *tlstransport.Socket) (int64, error)) (int64, error) {
	m.calls.RLock()
	defer m.calls.RUnlock()
	return call(m.s)
}

// move moves the session, under whatever load there is.
func (m *mover) move() error {
	got := make(chan struct{})
	go func() { m.calls.Lock(); close(got) }()
	for waiting := true; waiting; {
		select {
		case <-got:
			waiting = false
		case <-time.After(100 * time.Microsecond):
			m.cb.Interrupt(m.now.Load())
		}
	}
	defer m.calls.Unlock()
	fd, err := m.cb.GetFD(m.s)
	if err != nil {
		return err
	}
	state, err := m.cb.Export(m.s)
	if err != nil {
		return err
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return err
	}
	s, err := m.cb.Import(nil, dup, state)
	if err != nil {
		return errors.Join(err, unix.Close(dup))
	}
	old := m.s
	m.s = s
	m.now.Store(s)
	return m.cb.Release(old)
}

// movers is a transport whose sessions move; each is told over the channel when it is made.
func movers(t testing.TB, cb callbacks) (transport.Transport, <-chan *mover) {
	t.Helper()
	made := make(chan *mover, 100)
	tr, err := transport.New(transport.Callbacks[*mover]{
		Flags: transport.FullImpl,
		Socket: func(setup any, addr transport.Addr) (*mover, error) {
			s, err := cb.Socket(setup, addr)
			if err != nil {
				return nil, err
			}
			return newMover(cb, s), nil
		},
		Close: func(m *mover) error { m.calls.Lock(); defer m.calls.Unlock(); return cb.Close(m.s) },
		Listen: func(m *mover, addr transport.Addr, backlog int) (transport.Addr, error) {
			return cb.Listen(m.s, addr, backlog)
		},
		Accept: func(m *mover, tmo time.Duration) (*mover, transport.Addr, error) {
			s, addr, err := cb.Accept(m.s, tmo)
			if err != nil {
				return nil, nil, err
			}
			n := newMover(cb, s)
			made <- n
			return n, addr, nil
		},
		Connect: func(m *mover, addr transport.Addr, tmo time.Duration) error {
			err := cb.Connect(m.s, addr, tmo)
			if err == nil {
				made <- m
			}
			return err
		},
		Read: func(m *mover, p []byte, tmo time.Duration) (int, error) {
			n, err := m.do(func(s *tlstransport.Socket) (int64, error) { n, err := cb.Read(s, p, tmo); return int64(n), err })
			return int(n), err
		},
		Write: func(m *mover, p []byte, tmo time.Duration) (int, error) {
			n, err := m.do(func(s *tlstransport.Socket) (int64, error) { n, err := cb.Write(s, p, tmo); return int64(n), err })
			return int(n), err
		},
		Writev: func(m *mover, v [][]byte, tmo time.Duration) (int64, error) {
			return m.do(func(s *tlstransport.Socket) (int64, error) { return cb.Writev(s, v, tmo) })
		},
		HandshakePacketHeaderSize: func(m *mover) (int, error) { return 4, nil },
		GetFD:                     func(*mover) (int, error) { return -1, errors.ErrUnsupported },
		Interrupt:                 func(m *mover) { cb.Interrupt(m.now.Load()) },
	}, nil)
	require.NoError(t, err)
	return tr, made
}

// An Erlang node and ours send each other messages while their connection moves, again and again,
// and while the Erlang node changes its keys: nothing is lost, and neither notices.
func TestMovesUnderErlang(t *testing.T) {
	moves := otp.Times("CNODE_MOVES", 250)
	otp.Together(t, func(t *testing.T, r otp.Release) {
		a := newAuthority(t)
		file := a.sign(t, want{})
		for _, v := range versions {
			t.Run(v.name, func(t *testing.T) {
				more := []string{v.option}
				if v.number == tls.VersionTLS13 {
					// both sides: the file is both sides'
					more = append(more, "{key_update_at,50000}")
				}
				path := a.mutual(t, file, more...)
				erl := r.Start(t, otp.Options{TLSOptFile: path})
				log := &recorder{}
				cb, err := tlstransport.OptFileCallbacks(path, &tlstransport.Options{
					HandshakeTimeout: otp.HandshakeTime,
					Logger:           slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
				})
				require.NoError(t, err)
				for _, connect := range []string{"they connect", "we connect"} {
					t.Run(connect, func(t *testing.T) {
						tr, made := movers(t, cb)
						n := startNode(t, erl.EpmdPort(), tr)
						if connect == "they connect" {
							require.Equal(t, "pong", erl.Eval(t, "net_adm:ping('"+n.Name()+"')"))
						}
						_, err := n.RPC(background(t), erl.Name(), "erlang", "node")
						require.NoError(t, err)
						m := <-made
						chat(t, n, erl, func() {
							for i := range moves {
								require.NoError(t, m.move(), i)
								// so that something happens in between
								time.Sleep(200 * time.Microsecond)
							}
						})
						require.Empty(t, made, "the connection is the first one")
						if v.number == tls.VersionTLS13 {
							updates := strings.Count(log.String(), "the peer has changed its TLS key")
							require.Positive(t, updates)
							t.Logf("%d key updates of theirs", updates)
						}
					})
				}
			})
		}
	})
}

// chat makes an Erlang process and a mailbox of ours send each other numbered messages until during
// has returned, more than 100 each, and both check them.
func chat(t *testing.T, n *nodes.Node, erl *otp.Node, during func()) {
	t.Helper()
	ctx := background(t)
	b, err := n.NewMailbox(nil)
	require.NoError(t, err)
	defer b.Close()
	require.NoError(t, b.MonitorNode(ctx, erl.Name()))
	// The Erlang process checks the numbers of what comes and sends its own all the while; stop
	// ends it with both counts.
	_, err = n.RPC(ctx, erl.Name(), "persistent_term", "put", ei.Atom("box"), b.Pid())
	require.NoError(t, err)
	erl.Do(t, `register(chatter, spawn(fun() ->
		Box = persistent_term:get(box),
		(fun Loop(In, Out) ->
			receive
				{In, _} -> Loop(In + 1, Out);
				stop when Out > 100 -> Box ! {ended, In, Out};
				Other when Other =/= stop -> Box ! {wrong, Other, In}
			after 0 ->
				case In + 500 > Out of
					true -> Box ! {Out, binary:copy(<<Out>>, Out * 7919 rem 3000)}, Loop(In, Out + 1);
					false -> receive {In, _} -> Loop(In + 1, Out); stop -> Box ! {ended, In, Out} end
				end
			end
		end)(0, 0)
	end))`)
	var in, out int64
	received := make(chan error, 1)
	go func() {
		received <- func() error {
			for {
				m, err := b.Receive(ctx)
				if err != nil {
					return err
				}
				term, err := m.Term()
				if err != nil {
					return err
				}
				tuple, ok := term.(ei.Tuple)
				if !ok {
					return errors.New("came " + term.String())
				}
				if tuple[0] == ei.Atom("ended") {
					if tuple[1] != ei.Int(out) || tuple[2] != ei.Int(in) {
						return errors.New("the other side counts " + term.String())
					}
					return nil
				}
				if tuple[0] != ei.Int(in) || len(tuple[1].(ei.Binary)) != int(in*7919%3000) {
					return errors.New("came " + term.String())
				}
				in++
			}
		}()
	}()
	stop := make(chan struct{})
	sent := make(chan error, 1)
	go func() {
		for ; ; out++ {
			if out > 100 {
				select {
				case <-stop:
					sent <- b.SendName(ctx, erl.Name(), "chatter", ei.Atom("stop"))
					return
				default:
				}
			}
			if err := b.SendName(ctx, erl.Name(), "chatter", ei.Tuple{ei.Int(out), ei.Binary(make([]byte, out*6007%3000))}); err != nil {
				sent <- err
				return
			}
			if out%100 == 0 {
				time.Sleep(time.Millisecond) // the Erlang process has to keep up
			}
		}
	}()
	during()
	close(stop)
	require.NoError(t, <-sent)
	require.NoError(t, <-received)
	require.Greater(t, in, int64(100))
	require.Greater(t, out, int64(100))
	t.Logf("%d messages in, %d out", in, out)
}
