package pubsub

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/pubsub"
)

// A person is what this side tracks.
type person struct{ Name string }

// at is who is on a topic, as an Elixir node sees it.
func (w *world) at(p *peer, topic string) string {
	w.t.Helper()
	list, _ := w.call(p, "list", elixirName(w.presence), topic).(ei.List)
	var all []string
	for _, one := range list {
		var pair struct {
			_    struct{} `ei:"tuple"`
			Key  string
			Meta user
		}
		require.NoError(w.t, ei.UnmarshalTerm(one, &pair))
		require.NotEmpty(w.t, pair.Meta.PhxRef)
		all = append(all, pair.Key+"="+pair.Meta.Name)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// all waits until every node, or these, sees who is on a topic.
func (w *world) all(want string, p *pubsub.Presence, topic string, peers ...*peer) {
	w.t.Helper()
	if peers == nil {
		peers = w.lab.peers
	}
	w.eventually(want, func() string { return seen(p, topic) })
	for _, of := range peers {
		w.eventually(want, func() string { return w.at(of, topic) })
	}
}

// noted is what the Presence of an Elixir node has been told of a topic: who joined and left.
func (w *world) noted(p *peer, topic string) string {
	w.t.Helper()
	list, _ := w.call(p, "diffs", elixirName(w.presence), topic).(ei.List)
	var all []string
	for _, one := range list {
		all = append(all, string(one.(ei.Binary)))
	}
	return strings.Join(all, ", ")
}

func (w *world) box() *nodes.Mailbox {
	w.t.Helper()
	b, err := w.n.NewMailbox(nil)
	require.NoError(w.t, err)
	return b
}

// What is tracked here is seen there, and the reverse, with every change, until the process ends.
func TestTrack(t *testing.T) {
	each(t, func(w *world) {
		for _, pool := range []int{1, 3} {
			w.t.Run(fmt.Sprintf("pool%d", pool), func(t *testing.T) {
				w := &world{t: t, lab: w.lab}
				w.start(pool)
				w.tracks(pool)
			})
		}
	})
}

func (w *world) tracks(pool int) {
	x, ctx := w.lab.peers[0], w.ctx()
	p := w.follow(pool)
	w.track(x, "room", "xena", "Xena")
	w.all("xena=Xena", p, "room")
	ann, bob := w.box(), w.box()
	next := w.events(p, "room")
	require.Equal(w.t, "joined xena=Xena", next())

	require.NoError(w.t, p.Track(ctx, ann, "room", "ann", person{"Ann"}))
	require.Equal(w.t, "joined ann=Ann", next())
	require.NoError(w.t, p.Track(ctx, bob, "room", "ann", map[ei.Atom]any{"name": "Ann too"}))
	require.NoError(w.t, p.Track(ctx, ann, "other", "ann", person{"Ann"}))
	require.ErrorIs(w.t, p.Track(ctx, ann, "room", "ann", person{"Ann"}), pubsub.ErrAlreadyTracked)
	require.ErrorIs(w.t, p.Update(ctx, bob, "other", "ann", person{"Ann"}), pubsub.ErrNoPresence)
	require.Equal(w.t, "joined ann=Ann too", next())
	w.all("ann=Ann ann=Ann too xena=Xena", p, "room")
	w.all("ann=Ann", p, "other")

	require.NoError(w.t, p.Update(ctx, ann, "room", "ann", person{"Anna"}))
	require.Equal(w.t, "updated ann=Anna", next())
	w.all("ann=Ann too ann=Anna xena=Xena", p, "room")
	require.NoError(w.t, pubsub.UpdateFunc(ctx, p, ann, "room", "ann", func(u user) user { return user{Name: u.Name + "bel"} }))
	require.Equal(w.t, "updated ann=Annabel", next())
	w.all("ann=Ann too ann=Annabel xena=Xena", p, "room")
	refs := map[string]bool{}
	list, err := pubsub.List[user](p, "room")
	require.NoError(w.t, err)
	for _, one := range list {
		require.Len(w.t, one.Meta.PhxRef, 16)
		refs[one.Meta.PhxRef], refs[one.Meta.PhxRefPrev] = true, true
	}
	require.Len(w.t, refs, 5)

	require.NoError(w.t, p.Untrack(ctx, ann, "room", "ann"))
	require.NoError(w.t, p.Untrack(ctx, ann, "room", "ann"), "once more")
	require.Equal(w.t, "left ann=Annabel", next())
	w.all("ann=Ann too xena=Xena", p, "room")
	bob.Close()
	require.Equal(w.t, "left ann=Ann too", next())
	w.all("xena=Xena", p, "room")
	w.all("ann=Ann", p, "other")
	require.NoError(w.t, p.Track(ctx, ann, "room", "7", person{"Ann"}))
	w.all("7=Ann xena=Xena", p, "room")
	require.NoError(w.t, p.UntrackAll(ctx, ann))
	w.all("xena=Xena", p, "room")
	w.all("", p, "other")
	for _, of := range w.lab.peers {
		require.Equal(w.t, "joined ann, left ann", w.noted(of, "other"))
	}
	require.ErrorAs(w.t, p.Track(ctx, bob, "room", "bob", person{"Bob"}), new(*nodes.ExitError))
}

// A thousand at once are there after a few periods, and gone as soon; and each node that comes
// later gets them all.
func TestTrackMany(t *testing.T) {
	each(t, func(w *world) {
		w.start(1)
		x := w.lab.peers[0]
		p := w.follow(1)
		began := time.Now()
		var boxes []*nodes.Mailbox
		for i := range 1000 {
			boxes = append(boxes, w.box())
			require.NoError(w.t, p.Track(w.ctx(), boxes[i], "crowd", fmt.Sprint(i), person{fmt.Sprint(i)}))
		}
		many := func(of *peer, want int) {
			w.t.Helper()
			w.eventually(fmt.Sprint(want), func() string { return fmt.Sprint(len(strings.Fields(w.at(of, "crowd")))) })
		}
		for _, of := range w.lab.peers {
			many(of, 1000)
		}
		w.call(x, "permdown", elixirName(w.presence))
		w.call(x, "restart_presence", elixirName(w.pubsub), elixirName(w.presence), w.options(1))
		many(x, 1000)
		for _, b := range boxes[:990] {
			b.Close()
		}
		for _, of := range w.lab.peers {
			many(of, 10)
		}
		require.Len(w.t, strings.Fields(seen(p, "crowd")), 10)
		require.Less(w.t, time.Since(began), 1000*period, "nobody has waited for the end of PermdownPeriod")
	})
}

// A node that starts later sees who was there, and so does one whose Presence was killed.
func TestTrackRestarts(t *testing.T) {
	each(t, func(w *world) {
		w.start(1)
		x, y := w.lab.peers[0], w.lab.peers[1]
		p := w.follow(1)
		ann, bob := w.box(), w.box()
		require.NoError(w.t, p.Track(w.ctx(), ann, "room", "ann", person{"Ann"}))
		require.NoError(w.t, p.Track(w.ctx(), bob, "room", "bob", person{"Bob"}))
		w.all("ann=Ann bob=Bob", p, "room")
		shard := elixirName(w.presence) + "_shard0"
		w.call(y, "kill", shard)
		w.all("ann=Ann bob=Bob", p, "room")

		// the process here is killed: others see nothing of it
		was := w.n.Whereis(string(shard))
		was.Exit(ei.Atom("kill"))
		require.NoError(w.t, p.Track(w.ctx(), ann, "room", "carl", person{"Carl"}))
		w.all("ann=Ann bob=Bob carl=Carl", p, "room")
		require.NotEqual(w.t, was.Pid(), w.n.Whereis(string(shard)).Pid())
		bob.Close()
		w.all("ann=Ann carl=Carl", p, "room")
		require.Equal(w.t, "joined ann, joined bob, joined carl, left bob", sortedFirst(w.noted(x, "room")))

		// it ends in good order
		require.NoError(w.t, w.ps.Close())
		for _, of := range w.lab.peers {
			w.eventually("", func() string { return w.at(of, "room") })
		}
	})
}

// sortedFirst puts the first two of what was noted in order: they have come at once.
func sortedFirst(noted string) string {
	all := strings.Split(noted, ", ")
	slices.Sort(all[:min(2, len(all))])
	return strings.Join(all, ", ")
}

// A node that is killed, and started again under its name, sees who was there, and whom it had
// tracked before is gone.
func TestTrackNodeRestarts(t *testing.T) {
	each(t, func(w *world) {
		w.start(1)
		p := w.follow(1)
		ann := w.box()
		require.NoError(w.t, p.Track(w.ctx(), ann, "room", "ann", person{"Ann"}))
		name := fmt.Sprintf("ex%08x@127.0.0.1", rand.Uint32())
		for i := range 2 {
			z := w.lab.launch(w.t, name)
			defer z.program.Close()
			w.call(z, "start", elixirName(w.pubsub), 1, elixirName(w.presence), w.options(1))
			w.all("ann=Ann", p, "room", z)
			w.track(z, "room", fmt.Sprintf("zoe%d", i), "Zoe")
			w.all(fmt.Sprintf("ann=Ann zoe%d=Zoe", i), p, "room", z)
			require.NoError(w.t, p.Update(w.ctx(), ann, "room", "ann", person{"Ann"}))
			z.program.Kill()
			if i == 1 {
				w.eventually("ann=Ann", func() string { return seen(p, "room") })
			}
		}
	})
}

// The way to a node is cut, by its refusing this one's cookie, and mended: for a moment, and for so
// long that each side takes the other for lost. What has changed meanwhile is seen afterwards,
// once.
func TestTrackSplit(t *testing.T) {
	each(t, func(w *world) {
		w.start(1)
		x, y := w.lab.peers[0], w.lab.peers[1]
		p := w.follow(1)
		other := gonode.Start(w.t, w.config(goName())) // asks x meanwhile
		through := *w
		through.n = other
		me := ei.Atom(w.n.Name())
		cookie := func(c string) {
			w.t.Helper()
			_, err := other.RPC(w.ctx(), x.name, "erlang", "set_cookie", me, ei.Atom(c))
			require.NoError(w.t, err)
		}
		cut := func() {
			w.t.Helper()
			cookie("other")
			_, err := other.RPC(w.ctx(), x.name, "erlang", "disconnect_node", me)
			require.NoError(w.t, err)
		}
		mend := func() {
			w.t.Helper()
			cookie(otp.DefaultCookie)
			require.True(w.t, assertSoon(func() bool { _, err := w.n.Connect(w.ctx(), x.name); return err == nil || w.n.Conn(x.name) != nil }))
		}
		a, b := w.box(), w.box()
		require.NoError(w.t, p.Track(w.ctx(), a, "room", "ann", person{"Ann"}))
		require.NoError(w.t, p.Track(w.ctx(), b, "room", "bob", person{"Bob"}))
		w.track(x, "room", "xena", "Xena")
		w.all("ann=Ann bob=Bob xena=Xena", p, "room")

		cut()
		require.NoError(w.t, p.Untrack(w.ctx(), a, "room", "ann"))
		require.NoError(w.t, p.Track(w.ctx(), a, "room", "carl", person{"Carl"}))
		through.track(x, "room", "yves", "Yves")
		w.eventually("bob=Bob carl=Carl xena=Xena yves=Yves", func() string { return w.at(y, "room") })
		mend()
		w.all("bob=Bob carl=Carl xena=Xena yves=Yves", p, "room")

		before := w.noted(x, "room")
		cut()
		w.eventually("xena=Xena yves=Yves", func() string { return through.at(x, "room") })
		w.eventually("bob=Bob carl=Carl", func() string { return seen(p, "room") })
		require.NoError(w.t, p.Untrack(w.ctx(), a, "room", "carl"))
		require.NoError(w.t, p.Update(w.ctx(), b, "room", "bob", person{"Bo"}))
		mend()
		w.all("bob=Bo xena=Xena yves=Yves", p, "room")
		now := strings.TrimPrefix(w.noted(x, "room"), before+", ")
		require.Equal(w.t, "left bob, left carl", sortedFirst(strings.Join(strings.Split(now, ", ")[:2], ", ")))
		require.NoError(w.t, p.UntrackAll(w.ctx(), b))
		w.all("xena=Xena yves=Yves", p, "room")
	})
}

// Whatever happens, on all nodes at once, in the end all see the same, as it is.
func TestTrackRandom(t *testing.T) {
	each(t, func(w *world) {
		w.start(1)
		p := w.follow(1)
		seed := rand.Uint64()
		w.t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 0))
		shard := elixirName(w.presence) + "_shard0"
		here := map[string]*nodes.Mailbox{} // by key
		there := []map[string]ei.Term{{}, {}}
		names, killed := map[string]string{}, [2]bool{}
		anyOf := func(keys []string) string { return keys[r.IntN(len(keys))] }
		for i := range 200 {
			key := fmt.Sprintf("k%d", i)
			side := r.IntN(2)
			of := w.lab.peers[side]
			mine, theirs := slices.Sorted(maps.Keys(here)), slices.Sorted(maps.Keys(there[side]))
			switch what := r.IntN(20); {
			case what < 6:
				here[key], names[key] = w.box(), "n"
				require.NoError(w.t, p.Track(w.ctx(), here[key], "room", key, person{"n"}))
			case what < 9 && len(mine) > 0:
				key = anyOf(mine)
				names[key] += "u"
				require.NoError(w.t, p.Update(w.ctx(), here[key], "room", key, person{names[key]}))
			case what < 11 && len(mine) > 0:
				key = anyOf(mine)
				require.NoError(w.t, p.Untrack(w.ctx(), here[key], "room", key))
				if r.IntN(2) == 0 {
					names[key] = "again"
					require.NoError(w.t, p.Track(w.ctx(), here[key], "room", key, person{"again"}))
				} else {
					delete(here, key)
				}
			case what < 13 && len(mine) > 0:
				key = anyOf(mine)
				here[key].Close()
				delete(here, key)
			case what < 15:
				there[side][key], names[key] = w.track(of, "room", key, "e"), "e"
			case what < 16 && len(theirs) > 0:
				key = anyOf(theirs)
				w.call(of, "untrack", elixirName(w.presence), there[side][key], "room", key)
				delete(there[side], key)
			case what < 17:
				if c := w.n.Conn(of.name); c != nil {
					require.NoError(w.t, c.Close())
				}
			case what < 18:
				_, _ = w.n.Connect(w.ctx(), of.name)
			case what == 18:
				if b := w.n.Whereis(string(shard)); b != nil {
					b.Exit(ei.Atom("kill"))
				}
			case !killed[side]: // more often its supervisor would give it up
				killed[side] = true
				w.call(of, "kill", shard)
				there[side] = map[string]ei.Term{}
				w.eventually("true", func() string {
					pid, _ := w.n.RPC(w.ctx(), of.name, "erlang", "whereis", shard)
					_, isPid := pid.(ei.Pid)
					return fmt.Sprint(isPid)
				})
			}
			if r.IntN(3) == 0 { // so that changes fall into one broadcast period, or into several
				time.Sleep(time.Duration(r.IntN(50)) * time.Millisecond)
			}
		}
		for _, of := range w.lab.peers {
			_, _ = w.n.Connect(w.ctx(), of.name)
		}
		var want []string
		for key := range here {
			want = append(want, key+"="+names[key])
		}
		for _, of := range there {
			for key := range of {
				want = append(want, key+"="+names[key])
			}
		}
		slices.Sort(want)
		w.all(strings.Join(want, " "), p, "room")
	})
}
