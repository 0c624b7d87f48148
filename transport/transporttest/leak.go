package transporttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/remains"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// rounds is how many connections of each kind are opened and closed in a batch.
const rounds = 24

// many is how much must remain of a batch to count as a leak. It is less than rounds, because a few
// things that were there before may have gone meanwhile; and a leak of only one kind of connection
// still reaches it.
func many(rounds int) int { return rounds * 3 / 4 }

// life opens and closes a listener and connections that end in all the different ways, and makes
// some Connects that fail.
func (t *trial) life() {
	vain := t.connectingInVain()
	idle := t.listen(0)
	accept := begin(t, "Accept", idle.accepting(context.Background(), t))
	at := t.listen(0)
	client, server := t.join(at)
	once := t.after(time.Millisecond)
	// times out
	_, _ = do(t, "Read", func() (int, error) { return client.Read(once, make([]byte, 1)) })
	r1 := begin(t, "Read", func() (int, error) { return client.Read(context.Background(), make([]byte, 1)) })
	r2 := begin(t, "Read", func() (int, error) { return server.Read(context.Background(), make([]byte, 1)) })
	t.endInPeace(t.join(at))
	t.endAfterHooks(at)
	t.endUnread(at)
	_, err := vain.end()
	t.caught(err)
	r1.endsWithin(moment / 4)
	t.must(server.Close(), "Close") // with a Read waiting at either end
	_, _ = r1.end()
	t.must(client.Close(), "Close")
	_, _ = r2.end()
	t.must(at.l.Close(), "Close of a listener")
	t.must(idle.l.Close(), "Close of a listener") // with an Accept waiting
	_, _ = accept.end()
	ctx := t.after(4 * short)
	_, _ = do(t, "Connect", at.connecting(ctx, t)) // fails: the listener is closed
}

// connectingInVain connects to a listener on which nothing accepts, as often as that succeeds,
// until a Connect times out; then it cancels another one.
func (t *trial) connectingInVain() *call[struct{}] {
	at := t.listen(1)
	return begin(t, "Connect", func() (none struct{}, err error) {
		for range 12 {
			if _, err = at.connecting(t.after(moment/4), t)(); err != nil {
				break
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer time.AfterFunc(moment/4, cancel).Stop()
		_, err = at.connecting(ctx, t)()
		return none, errors.Join(err, at.l.Close())
	})
}

func (t *trial) endInPeace(client, server *stream) {
	t.must(client.Close(), "Close")
	t.must(server.Close(), "Close")
}

// endAfterHooks makes a connection with a handshake and ends it, one direction after the other if
// the plug-in has CloseWrite. Errors of the hooks and of CloseWrite are left to other rules.
func (t *trial) endAfterHooks(at site) {
	client, server, _, err := t.handshake(at)
	t.caught(err)
	// a CloseWrite may wait until the other end reads
	r1, r2 := t.resting(client), t.resting(server)
	for _, s := range []*stream{client, server} {
		_, err := do(t, "CloseWrite", func() (none struct{}, _ error) { return none, s.CloseWrite() })
		t.caught(err)
	}
	for _, s := range []*stream{client, server} {
		t.caught(s.Close())
	}
	_, _ = r1.end()
	_, _ = r2.end()
}

// endUnread closes a connection with bytes unread, and a connection that is never accepted.
func (t *trial) endUnread(at site) {
	client, server := t.join(at)
	ctx := t.after(short)
	write := begin(t, "Writev", func() (int64, error) { return client.Writev(ctx, []byte("never read")) })
	_, _ = write.end() // times out if the carrier holds nothing
	late := begin(t, "Connect", at.connecting(ctx, t))
	t.must(server.Close(), "Close")
	t.caught(client.Close()) // Close may report that the peer did not read
	if s, err := late.end(); err == nil {
		t.must(s.Close(), "Close")
	}
}

// movedLife opens and closes two connections; in the first the connecting end is moved, in the
// second the accepting end. Then it moves the listener, if that works.
func (t *trial) movedLife() {
	at := t.listen(0)
	client, server := t.join(at)
	t.refusesState(at, client)
	t.endMoved(at, client, server)
	client, server = t.join(at)
	t.endMoved(at, server, client)
	t.refusesPipe(at)
	dup := t.duplicate(at.l)
	moved, err := do(t, "ImportListener", keep(t, func() (*transport.Listener, error) { return at.tr.ImportListener(dup) }))
	if err != nil {
		_ = sys.Close(dup)
		t.must(at.l.Close(), "Close of a listener")
		return
	}
	t.must(at.l.Release(), "Release of a listener")
	t.must(moved.Close(), "Close of a moved listener")
}

func (t *trial) endMoved(at site, moving, other *stream) {
	ctx := t.after(4 * time.Millisecond)
	// makes what waiting needs, to be freed by Release
	_, _ = do(t, "Read", func() (int, error) { return moving.Read(ctx, make([]byte, 1)) })
	dup := t.duplicate(moving)
	moved := t.take(at, dup, t.export(moving, dup))
	t.must(moving.Release(), "Release")
	t.must(moved.Close(), "Close of a moved stream")
	t.must(other.Close(), "Close")
}

// A remainder is what may remain of connections.
type remainder struct {
	what string
	// begin is called before each batch. The function left that it returns tells how much of what has
	// come since is still there, and an example.
	begin   func() (left func() (int, string))
	batches []func() (int, string)
}

// leaks looks for descriptors and goroutines that were not there before and stay. Other parts of
// the process may open and close descriptors meanwhile, so a descriptor counts only as long as it
// refers to the same file; the goroutines are those that descend from the trial's own, which
// inherit its pprof label.
func leaks(t *trial) {
	const key = "transporttest"
	id := strconv.FormatInt(trials.Add(1), 10)
	pprof.Do(context.Background(), pprof.Labels(key, id), func(context.Context) {
		begin := func() (left func() (int, string)) {
			before, _ := labelled(key, id)
			return func() (int, string) {
				n, sample := labelled(key, id)
				return n - before, sample
			}
		}
		t.leaksOf("connections", t.life, begin)
		// moved connections, if the plug-in can be moved
		if tr, _ := t.made(); tr.Movable() && canDuplicate {
			t.leaksOf("moved connections", t.movedLife, begin)
		}
	})
}

// leaksOf calls life many times, in three batches, and looks for something that has grown with each
// batch and stays.
func (t *trial) leaksOf(of string, life func(), goroutines func() (left func() (int, string))) {
	life() // things that are made only once are made now
	grow := []*remainder{{what: "goroutines", begin: goroutines}}
	if remains.Descriptors() != nil { // else they cannot be counted here
		grow = append(grow, &remainder{what: "descriptors", begin: remains.Fresh})
	}
	for range 3 {
		for _, r := range grow {
			r.batches = append(r.batches, r.begin())
		}
		for range t.s.rounds {
			life()
			t.closeAll()
		}
		grow = slices.DeleteFunc(grow, func(r *remainder) bool {
			n, _ := r.batches[len(r.batches)-1]()
			return n < many(t.s.rounds)
		})
		if len(grow) == 0 {
			return
		}
	}
	var remain []string
	for _, r := range grow {
		if sample, stays := remains.Stay(r.batches, many(t.s.rounds), t.s.lingering); stays {
			remain = append(remain, fmt.Sprintf("%d %s or more remain, such as %s", many(t.s.rounds), r.what, sample))
		}
	}
	if len(remain) > 0 {
		t.inVain()
		t.fail("of every %d times that %s were opened and closed, %s", t.s.rounds, of, strings.Join(remain, ", and "))
	}
}

var trials atomic.Int64 // numbers the labels of trials in this process

// labelled counts the goroutines with a label; sample is a position of the largest group of them.
func labelled(key, value string) (n int, sample string) {
	var buf bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&buf, 1); err != nil {
		return 0, ""
	}
	label := fmt.Sprintf("%q:%q", key, value)
	most := 0
	for _, group := range strings.Split(buf.String(), "\n\n") {
		lines := strings.Split(strings.TrimSpace(group), "\n")
		if !strings.Contains(group, label) || len(lines) < 3 {
			continue
		}
		for len(lines) > 0 && !strings.Contains(lines[0], " @ ") {
			lines = lines[1:]
		}
		if len(lines) == 0 {
			continue
		}
		count, err := strconv.Atoi(strings.Fields(lines[0])[0])
		if err != nil {
			continue
		}
		n += count
		if count > most {
			most, sample = count, strings.Join(strings.Fields(lines[len(lines)-1]), " ")
		}
	}
	return n, sample
}
