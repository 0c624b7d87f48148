package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cnode-go/cnode/transport/handoff"
)

// ControlPath is where the control socket of a node is by convention, and where cnode-demo upgrade
// looks for it: $XDG_RUNTIME_DIR/cnode/NODE/control, or below cnode-UID in the temporary folder.
// Whoever asks needs the same XDG_RUNTIME_DIR (or TMPDIR) as the node.
func ControlPath(node string) string {
	return filepath.Join(ownParent(), strings.ReplaceAll(url.PathEscape(node), "%40", "@"), "control")
}

// ownParent is where this user's directories are.
func ownParent() string {
	if run := os.Getenv("XDG_RUNTIME_DIR"); run != "" {
		return filepath.Join(run, "cnode")
	}
	return filepath.Join(os.TempDir(), "cnode-"+strconv.Itoa(os.Getuid()))
}

// conventional tells whether a path is of the kind that ControlPath gives, so that two directories
// are this package's to make, and the inner one to remove.
func conventional(path string) bool { return filepath.Dir(filepath.Dir(path)) == ownParent() }

// makeDirs makes the directory of a control socket, if it is not there. Where others could have put
// something, none of them may have access: ListenControl looks at the inner one.
func makeDirs(path string) error {
	dir := filepath.Dir(path)
	if conventional(path) {
		if err := makeDir(filepath.Dir(dir)); err != nil {
			return err
		}
		if err := checkPrivate(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	return makeDir(dir)
}

func makeDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// The words of a request, and the first word of the answer to askUpgrade. That is followed by the
// ids of the old process and the new one, then by askWorkers if there are workers, or by what is
// wrong; by nothing after answerEnds.
const (
	askUpgrade = "upgrade" // followed by the program; "": the usual one
	// askWorkers is for a front that has just taken over: what is the outcome of its workers'
	// upgrade?
	askWorkers     = "workers"
	answerUpgraded = "upgraded"
	answerSilent   = "silent"   // the new process has everything, but has not reported that it runs
	answerTroubled = "troubled" // the new process has everything, but its start has failed
	answerEnds     = "ends"     // the old process still has everything, but is about to end
)

// A control is where other processes of the same user reach an Upgrader's.
type control struct {
	s      *Service
	path   string
	giving sync.RWMutex     // held during a hand-off, of which the socket is a part
	socket *handoff.Control // nil: nobody can connect
	gone   bool             // it is another process's
	visits sync.WaitGroup
	over   chan struct{} // closed when nobody is served any more
}

// newControl listens at Upgrader.Control, or goes on with the previous process's socket; serve is
// next. If there can be none the node runs without, and the log says so.
func (s *Service) newControl(o Owner, before *handoff.Control) *control {
	if s.Control == "" || before != nil && before.Path() != s.Control {
		if before != nil {
			_ = before.Close() // nobody is reached there any more
		}
		before = nil
	}
	if s.Control == "" {
		return nil
	}
	c := &control{s: s, path: s.Control, socket: before, over: make(chan struct{})}
	var err error
	if before == nil {
		err = c.listen()
	}
	if err != nil {
		s.logOf(o).Warn("no control socket, so nobody can ask this process for an upgrade or take over", "error", err)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return c
}

// listen makes the control socket.
func (c *control) listen() error {
	if err := makeDirs(c.path); err != nil {
		return err
	}
	socket, err := handoff.ListenControl(c.path)
	if err == nil {
		c.socket = socket
	}
	return err
}

// serve answers visitors until this process is about to end, or is not the node any more.
func (c *control) serve() {
	defer close(c.over)
	ctx, cancel := context.WithCancel(c.s.over)
	defer cancel()
	go func() {
		select {
		case <-c.s.owner.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	c.accept(ctx)
	c.visits.Wait()
	c.close()
}

// lookAgain is how often it is looked whether the control socket is still there.
const lookAgain = 2 * time.Second

func (c *control) accept(ctx context.Context) {
	for ctx.Err() == nil {
		c.renew()
		limit, cancel := context.WithTimeout(ctx, lookAgain)
		conn, err := c.visitor(limit)
		cancel()
		switch {
		case err == nil:
			c.visits.Go(func() { c.visit(c.s.over, conn) })
		case limit.Err() != nil: // time to look again, or to end
		case errors.Is(err, net.ErrClosed): // handed over
			return
		default:
			c.s.log().Warn("control socket: nobody can ask this process for an upgrade or take over any more", "error", err)
			return
		}
	}
}

// visitor waits for a process that connects.
func (c *control) visitor(ctx context.Context) (*net.UnixConn, error) {
	if c.socket == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return c.socket.Accept(ctx)
}

// renew makes the control socket anew if it is not there, and no hand-off is going on.
func (c *control) renew() {
	if c.socket != nil && !c.socket.Removed() || !c.giving.TryLock() {
		return
	}
	defer c.giving.Unlock()
	if c.gone {
		return
	}
	old := c.socket
	if err := c.listen(); err != nil {
		c.s.log().Debug("control socket", "error", err) // its directory may come back
		return
	}
	c.s.log().Info("control socket made anew", "path", c.path)
	if old != nil {
		_ = old.Close() // has no file any more
	}
}

// release leaves the socket to the process that it has been handed over to.
func (c *control) release() error {
	c.gone = true
	return c.socket.Release()
}

// close removes the socket, unless it is another process's.
func (c *control) close() {
	c.giving.Lock() // a hand-off may still be about to release it
	defer c.giving.Unlock()
	if c.gone || c.socket == nil {
		return
	}
	if err := c.socket.Close(); err != nil {
		c.s.log().Warn("control socket", "error", err)
	}
	if conventional(c.path) {
		_ = os.Remove(filepath.Dir(c.path)) // fails if anything else is there
	}
}

func (c *control) visit(ctx context.Context, conn *net.UnixConn) {
	v, err := handoff.Hear(ctx, conn)
	if err != nil {
		c.s.log().Debug("control socket", "error", err)
		return
	}
	defer v.Close()
	request, asks := v.Request()
	switch {
	case !asks:
		c.takenOver(ctx, v)
	case len(request) == 2 && request[0] == askUpgrade:
		c.asked(ctx, v, request[1])
	case len(request) == 1 && request[0] == askWorkers && c.crew() != nil:
		failures, err := c.crew()(ctx)
		if err != nil {
			v.Refuse(ErrEnds)
			return
		}
		_ = v.Answer(ctx, append([]string{askWorkers}, failures...)...)
	default:
		v.Refuse(fmt.Errorf("not a request: %q", request))
	}
}

// takenOver hands the node over to a visitor.
func (c *control) takenOver(ctx context.Context, v *handoff.Visit) {
	done, err := c.s.begin()
	if err != nil {
		v.Refuse(err)
		return
	}
	defer done()
	h, err := c.s.give(ctx, v.Channel())
	c.s.say(h, err)
}

// crew waits for the upgrade of the owner's workers, and says which have failed; nil: it has none.
func (c *control) crew() func(ctx context.Context) (failures []string, err error) {
	if o, ok := c.s.owner.(interface {
		Crew() func(ctx context.Context) ([]string, error)
	}); ok {
		return o.Crew()
	}
	return nil
}

// asked upgrades because a visitor wants it.
func (c *control) asked(ctx context.Context, v *handoff.Visit, program string) {
	c.s.at("owner: asked")
	done, err := c.s.begin()
	late := context.WithoutCancel(ctx) // the process that asked may be gone
	if c.s.InPlace && err == nil {
		defer done()
		err = errors.New("its program is replaced in place: by SIGHUP")
	}
	if errors.Is(err, ErrEnds) {
		_ = v.Answer(late, answerEnds)
		return
	}
	if err != nil {
		v.Refuse(err)
		return
	}
	defer done()
	next, h, err := c.s.handOver(ctx, program)
	c.s.say(h, err)
	c.s.at("owner: the hand-off is over")
	switch {
	case !h.Moved && ctx.Err() != nil:
		_ = v.Answer(late, answerEnds)
		return
	case !h.Moved:
		done() // whoever hears of it may ask again at once
		v.Refuse(err)
		return
	}
	_ = v.Answer(late, c.outcome(h, err)...)
	c.s.at("owner: answered")
	if err := c.s.follow(ctx, next); err != nil {
		c.s.log().Warn("upgrade", "error", err)
	}
}

// outcome is the answer to a visitor once another process is the node.
func (c *control) outcome(h handoff.Handed, err error) []string {
	answer := []string{answerUpgraded, strconv.Itoa(os.Getpid()), strconv.Itoa(h.Peer.PID)}
	var trouble *handoff.Error
	var failed *handoff.StartError
	switch {
	case errors.As(err, &failed):
		answer[0] = answerTroubled
		return append(answer, failed.Reason)
	case errors.As(err, &trouble) && trouble.Step == handoff.StepTake:
		answer[0] = answerSilent
		return append(answer, err.Error())
	case c.crew() != nil: // the new process upgrades them, and can be asked about them
		return append(answer, askWorkers)
	}
	return answer
}
