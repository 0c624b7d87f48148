package service

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/cnode-go/cnode/transport/handoff"
)

// A Service runs a program that goes on in another process when this one is to be replaced. Listen
// is called for each of its addresses, then Run; Upgrade at any time after. The zero Service is
// ready to use.
type Service struct {
	// Command is the new program and its arguments; nil: the file that is now at the path by which
	// this program was started (through a link, where the link leads then), with this one's
	// arguments. It gets this process's environment and standard streams.
	Command []string
	// InPlace has the new program run in this process (execve(2)), and not in a new one: for process
	// 1 of a container, and below a supervisor that takes the end of the process for the end of the
	// service. What is in progress ends first, within DrainTimeout, while new connections wait; a
	// program that fails has no way back. Linux only.
	InPlace bool
	// Control is the path of a UNIX socket where other processes of the same user reach this one:
	// Ask, which an operator's command calls, and a Run with TakeOver. ControlPath gives the usual
	// one; "": there is none. Nobody but this user may have access to its directory, which is made
	// if need be. The socket goes on with the service, and is made anew if somebody removes it.
	// Without one the service runs all the same, and the log says why: on darwin and windows always.
	Control string
	// TakeOver takes over from the process that has the Control socket, unless another one has
	// started this process to hand over: ErrNobody if there is none. Sockets that this process
	// listens on already are not taken over: it is for an Owner.
	TakeOver bool
	// Allow, if not nil, is asked before each hand-off. Its error is why there is none now.
	Allow func() error
	// EndOn are the signals that tell the process to end; nil: SIGTERM and SIGINT.
	EndOn []os.Signal
	// UpgradeOn are the signals on which Run upgrades; nil: SIGHUP; empty, but not nil: none.
	UpgradeOn []os.Signal
	// DrainTimeout is how long what is in progress may go on here once another process has the
	// listeners, or once this one is told to end. 0: 10 s.
	DrainTimeout time.Duration
	// Logger hears of hand-offs. nil: nobody does.
	Logger *slog.Logger
	// OnReady, if not nil, is called once this process has taken over, or begun anew, and accepts.
	OnReady func()
	// Reached is called at each step of an upgrade, in both processes: for logs and tests. Optional.
	Reached func(step string)

	file     string // of this program
	maker    Maker
	owner    Owner
	before   *predecessor
	taking   bool     // from a process that has not started this one
	control  *control // nil: there is none
	unwatch  func()
	ends     chan os.Signal // Run is to end
	upgrades chan os.Signal
	heard    chan os.Signal // as upgrades, since the last upgrade has begun
	restarts chan os.Signal // systemd starts the service again
	broken   chan error     // nothing is served any more
	again    bool           // one of UpgradeOn has come during an upgrade that goes on
	over     context.Context
	end      context.CancelFunc // Upgrade is to give up, or to pass it on

	mu     sync.Mutex
	ending bool
	busy   chan struct{} // closed when the upgrade that goes on is over; nil: there is none
	next   *os.Process   // has it all now
	beside []*listener   // go on in another process
	onEnd  []func(context.Context) error
	plain  *plain // nil: there is an Owner, or Listen has not been called
}

// Listen is net.Listen for an address that goes on in the process that follows, once that calls
// Listen with the same network and address. Nobody is refused meanwhile: this process accepts until
// the other one does. The first process gets a socket that systemd has opened at that address
// (systemd.socket(5)), if there is one.
//
// Accept gives connections once Run runs. When another process accepts, it waits for Close. A
// connection of which nothing has been read moves to that process. So does one between two
// requests, if its server says so by the connection's method SetIdle(true), as package web has a
// server of net/http do; it is moved by the next Read, which then fails. Others are finished here.
func (s *Service) Listen(network, address string) (net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plain == nil && s.owner == nil {
		s.hear()
		s.plain = newPlain(s)
	}
	var opened []net.Listener
	if s.plain != nil {
		opened = s.plain.opened
	}
	l, err := listen(network, address, opened)
	if err != nil {
		return nil, err
	}
	s.beside = append(s.beside, l)
	if s.plain != nil {
		l.p = s.plain
		s.plain.add(l)
		return l, nil
	}
	l.own()
	o := s.owner
	go func() {
		select {
		case <-l.closed:
		case <-o.Done():
			if s.hasMoved() {
				l.leave()
			}
		}
	}()
	return l, nil
}

// OnEnd adds a function that ends a server in good order, such as the method Shutdown of one of
// net/http: for when another process has the listeners, or the process is told to end. ctx ends
// after DrainTimeout. Run waits for all of them.
func (s *Service) OnEnd(f func(ctx context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onEnd = append(s.onEnd, f)
}

// Run serves until ctx ends, the process is told to end (SIGTERM, SIGINT), or Fail is called; then
// what is in progress ends, and Run returns the error of that. On SIGHUP it calls Upgrade, and when
// another process has the listeners and nothing is in progress any more, it returns nil: so it does
// after any Upgrade, and any other hand-off. A SIGHUP that comes during one is dealt with after it,
// by whichever process serves then. A second SIGTERM ends the process at once. EndOn and UpgradeOn
// name other signals than these.
//
// Run first takes over from the process that has started this one for that, if one has. From the
// first Listen on the signals are Run's to answer, and SIGPIPE is ignored, so that the process does
// not end when nobody reads its log any more. NOTIFY_SOCKET is out of the environment: see Notify.
//
// Where systemd keeps descriptors (FileDescriptorStoreMax=, since version 254), SIGUSR2 leaves
// listeners and idle connections with it, for the process that it starts next, and Run returns nil:
// a unit asks for that with RestartKillSignal=SIGUSR2. Where it does not, SIGUSR2 is as SIGTERM.
func (s *Service) Run(ctx context.Context) error {
	s.mu.Lock()
	owner := s.owner
	if owner == nil && s.plain == nil {
		s.plain = newPlain(s)
	}
	p := s.plain
	s.mu.Unlock()
	if owner == nil {
		if _, err := s.Start(ctx, p); err != nil {
			return err
		}
	}
	return s.run(ctx)
}

// An Owner is what a program hands over beside its listeners, a node say: package nodes/upgrade has
// one. A program of servers alone has none.
type Owner interface {
	// Offer gives it to another process; done is called after that, whatever came of it.
	Offer() (o *handoff.Offer, done func())
	// Park stops it for a program that begins when this one has ended.
	Park(ctx context.Context) (handoff.Frozen, error)
	// Done is closed when it has ended here; then Err is why. It is ErrMoved, or an error that wraps
	// it, if it goes on in another process.
	Done() <-chan struct{}
	Err() error
	// Failed gives why it is to be shut down, such as a listener's error.
	Failed() <-chan error
	// Shutdown ends it in good order. Leave ends what is left of it here once it has moved.
	Shutdown(ctx context.Context) error
	Leave(ctx context.Context) error
	// Logger is where hand-offs are told.
	Logger() *slog.Logger
}

// A Maker makes an Owner.
type Maker interface {
	// What is the word for it in the log.
	What() string
	// Terms are told at hello. Prepare and Restore are those of a handoff.Acceptance.
	Terms() handoff.Terms
	Prepare(ctx context.Context, static []byte) error
	Restore(state []byte, fds []int) (handoff.Staged, Owner, error)
	// Begin makes it anew, or of what was parked; kept is nil if nothing was.
	Begin(ctx context.Context, kept *Kept) (Owner, error)
}

// Start makes this process the owner: of what the process that has started it hands over; of what
// the one hands over that has the Control socket (TakeOver); of what was parked for it; or anew.
// Then it tells systemd that the service is ready. A program with an Owner of its own calls it
// before Run. It has the errors of the Maker, or a *handoff.Error.
func (s *Service) Start(ctx context.Context, m Maker) (Owner, error) {
	if err := s.start(ctx, m); err != nil {
		return nil, err
	}
	return s.owner, nil
}

func (s *Service) drainTimeout() time.Duration { return cmp.Or(s.DrainTimeout, defaultDrainTimeout) }

// Moves reports whether listeners and idle connections go on in another program.
func (s *Service) Moves() bool {
	s.mu.Lock()
	p := s.plain
	s.mu.Unlock()
	if p == nil {
		return s.owner != nil && s.hasMoved()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.moving
}

// Fail has Run shut down, and return err: for a server that cannot go on.
func (s *Service) Fail(err error) {
	s.mu.Lock()
	p := s.plain
	s.mu.Unlock()
	if p != nil {
		p.fail(err)
	}
}
