package nodes

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/form"
)

func someWords(t *rapid.T, what string) []wordState {
	return few(t, what, func() wordState {
		return wordState{someBytes(t, "json"), place(rapid.IntRange(0, 9).Draw(t, "descriptor"))}
	})
}

func someNames(t *rapid.T, what string) []nameState {
	return few(t, what, func() nameState { return nameState{ei.Atom(someName(t))} })
}

func someFront(t *rapid.T) frontState {
	number := func(what string) int { return rapid.IntRange(0, 1<<20).Draw(t, what) }
	return frontState{
		node: someBytes(t, "node"), descriptors: number("descriptors"), arrivals: rapid.Uint64().Draw(t, "arrivals"), lastPart: number("part"),
		crew: few(t, "crew", func() crewState {
			return crewState{
				slot: number("slot"), part: number("part"), pid: number("pid"), handle: place(number("handle")), line: number("line"),
				ready: rapid.Bool().Draw(t, "ready"), hangs: rapid.Bool().Draw(t, "hangs"), sessions: number("sessions"),
				age: time.Duration(number("age")), moves: 3, socket: 4,
				words:   someWords(t, "words"),
				untaken: few(t, "untaken", func() sessionState { return sessionState{1, place(number("descriptor")), someName(t), 3} }),
			}
		}),
		routes: few(t, "routes", func() routeState {
			held := few(t, "held", func() heldState { return heldState{number("part"), 2} })
			return routeState{someName(t), rapid.Uint64().Draw(t, "order"), number("at"), held, rapid.Bool().Draw(t, "proven")}
		}),
		names: few(t, "names", func() tenancyState {
			return tenancyState{someName(t), number("part"), rapid.Uint64().Draw(t, "number")}
		}),
		roll: place(number("roll")),
	}
}

func someWorker(t *rapid.T) workerState {
	number := func(what string) int { return rapid.IntRange(0, 1<<20).Draw(t, what) }
	return workerState{
		node: someBytes(t, "node"), descriptors: number("descriptors"), part: number("part"), latest: number("latest"), last: rapid.Uint64().Draw(t, "last"),
		line: number("line"), words: someWords(t, "words"), work: someWords(t, "work"), fixed: someNames(t, "fixed"), claimed: someNames(t, "claimed"),
		meets: few(t, "meets", func() meetState { return meetState{someName(t), number("to")} }), over: someNames(t, "over"),
		questions: someWords(t, "questions"), roll: place(number("roll")),
		crew: few(t, "crew", func() mateState { return mateState{number("part")} }), coming: someWords(t, "coming"),
	}
}

// What is written of a front, a worker and a way between workers is read, whatever it is; what is not known is skipped, or refused.
func TestFrontStateRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := someFront(t)
		b, err := writeState(kindFront, &f)
		require.NoError(t, err)
		var readFront frontState
		require.NoError(t, readState(kindFront, addField(b, 99, form.May, "news"), &readFront))
		require.Equal(t, f, readFront)
		require.ErrorIs(t, readState(kindFront, addField(b, 99, form.Must, "news"), new(frontState)), ErrStateField)

		w := someWorker(t)
		b, err = writeState(kindWorker, &w)
		require.NoError(t, err)
		var readWorker workerState
		require.NoError(t, readState(kindWorker, addField(b, 99, form.May, "news"), &readWorker))
		require.Equal(t, w, readWorker)
		require.ErrorIs(t, readState(kindWorker, addField(b, 99, form.Must, "news"), new(workerState)), ErrStateField)

		c := someConn(t)
		c.worker, c.shadow, c.trunk, c.staked, c.stake = 7, rapid.Bool().Draw(t, "shadow"), 2, rapid.Bool().Draw(t, "held"), someName(t)
		c.links = few(t, "links", func() crossingState { return crossingState{somePid(t), somePid(t)} })
		c.monitors = few(t, "monitors", func() crossMonitorState {
			return crossMonitorState{someRef(t), crossMonitor{somePid(t), somePid(t), "name"}}
		})
		b, err = writeState(kindConn, &c)
		require.NoError(t, err)
		var readConn connState
		require.NoError(t, readState(kindConn, b, &readConn))
		require.Equal(t, c, readConn)
	})
}

// A node that is one process takes no ways to other workers.
func TestRestoreRefusesParts(t *testing.T) {
	for _, c := range []connState{{worker: 1}, {trunk: 1}, {shadow: true}} {
		c.self, c.peer.Name, c.plugin, c.pid = "a@b", "c@d", "tcp", ei.Pid{Node: "a@b", ID: 1, Creation: 4}
		b, err := writeState(kindNode, &nodeState{name: "a@b", creation: 4, conns: []connState{c}})
		require.NoError(t, err)
		_, err = Restore(Config{Cookie: "secret", Resolver: Static{}}, b, nil)
		require.ErrorIs(t, err, ErrState)
	}
}

// FuzzFrontState reads anything as the state of a front, and of a worker: no panic, and nothing made of what is refused.
func FuzzFrontState(f *testing.F) {
	f.Add([]byte(form.Magic + "f\x01"))
	f.Add([]byte(form.Magic + "w\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		cfg := Config{Cookie: "secret", Resolver: Static{}}
		var s frontState
		if readState(kindFront, b, &s) == nil {
			out, err := writeState(kindFront, &s)
			require.NoError(t, err)
			require.NoError(t, readState(kindFront, out, new(frontState)))
			g, err := RestoreFront(FrontConfig{Node: cfg, Workers: 8}, b, nil)
			if err == nil {
				require.NoError(t, g.Discard())
			}
		}
		var w workerState
		if readState(kindWorker, b, &w) == nil {
			out, err := writeState(kindWorker, &w)
			require.NoError(t, err)
			require.NoError(t, readState(kindWorker, out, new(workerState)))
			h := &workerHeir{cfg: cfg}
			if staged, err := h.stage(t.Context(), b, nil); err == nil {
				require.NoError(t, staged.Discard())
			}
		}
	})
}

// The committed seeds are written anew with CNODE_SEEDS set.
func TestFrontStateSeeds(t *testing.T) {
	dir := filepath.Join("testdata", "fuzz", "FuzzFrontState")
	if os.Getenv("CNODE_SEEDS") != "" {
		require.NoError(t, os.MkdirAll(dir, 0o755))
		for i := range 2 {
			front, worker := rapid.Custom(someFront).Example(i), rapid.Custom(someWorker).Example(i)
			one, err := writeState(kindFront, &front)
			require.NoError(t, err)
			other, err := writeState(kindWorker, &worker)
			require.NoError(t, err)
			for kind, b := range map[string][]byte{"front": one, "worker": other} {
				text := "go test fuzz v1\n[]byte(" + strconv.Quote(string(b)) + ")\n"
				require.NoError(t, os.WriteFile(filepath.Join(dir, kind+strconv.Itoa(i)), []byte(text), 0o644))
			}
		}
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.NotEmpty(t, entries)
}
