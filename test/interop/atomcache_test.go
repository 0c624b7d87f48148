package interop

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
)

// Texts of atoms: those of many are more than twice as many as an atom cache holds, those of long
// have 255 characters of 4 bytes each, and those of odd are at the limits of encodings.
var (
	many = texts(5000, func(i int) string { return "a" + strconv.Itoa(i) })
	long = texts(600, func(i int) string { return strings.Repeat("😀", 250) + inDigits(i) })
	odd  = []string{
		"", "é", "'", "\\", "\n", strings.Repeat("x", 255), strings.Repeat("y", 254) + "é",
		strings.Repeat("é", 127), strings.Repeat("é", 128), strings.Repeat("€", 255), "ok", "true", "undefined", "日本語",
	}
)

func texts(n int, text func(int) string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = text(i)
	}
	return all
}

// inDigits writes a number as five characters of 4 bytes.
func inDigits(i int) string {
	var b strings.Builder
	for _, d := range fmt.Sprintf("%05d", i) {
		b.WriteRune('𝟘' + d - '0')
	}
	return b.String()
}

// A bunch is what a message is made of, as module large has it.
type bunch struct {
	shape ei.Atom
	texts []string
}

func (b bunch) term() ei.Term {
	texts := make(ei.List, len(b.texts))
	for i, text := range b.texts {
		texts[i] = ei.Binary(text)
	}
	return ei.Tuple{b.shape, texts}
}

func (b bunch) build() (ei.Term, error) {
	n := len(b.texts)
	atom := func(i int) ei.Term { return ei.Atom(b.texts[i%n]) }
	switch b.shape {
	case "tuple":
		all := make(ei.Tuple, n)
		for i := range all {
			all[i] = atom(i)
		}
		return all, nil
	case "map":
		all := make(ei.Map, n)
		for i := range all {
			all[i] = ei.Pair{Key: atom(i), Value: atom(i + 1)}
		}
		return all, nil
	case "long":
		all := make(ei.List, 12000)
		for i := range all {
			all[i] = ei.Tuple{ei.Int(i + 1), atom(i + 1), atom((i + 1) * 7)}
		}
		return all, nil
	}
	return nil, fmt.Errorf("shape %v", b.shape)
}

// drawBunches gives what one sender sends: mostly messages of a few atoms of many, so that the
// cache is overwritten all the time, and some for which a header has no room, or which come in
// fragments.
func drawBunches(r *rand.Rand) (all []bunch) {
	draw := func(from []string, n int) []string {
		drawn := make([]string, 0, n)
		for _, i := range r.Perm(len(from))[:n] {
			drawn = append(drawn, from[i])
		}
		return drawn
	}
	numbers, longs := []int{254, 255, 256, 300, 1000, len(many)}, []int{1, 20, 63, 64, 65, 128, 255, 256, 400}
	if usual.fault != "" { // which is slow
		numbers, longs = numbers[:4], []int{20, 65}
	}
	for range 60 {
		all = append(all, bunch{"tuple", draw(many, 20)}, bunch{"map", draw(many, 10)})
	}
	for _, n := range numbers {
		all = append(all, bunch{"tuple", draw(many, n)}, bunch{"map", draw(many, n)})
	}
	for _, n := range longs { // headers of 64 KiB and more
		all = append(all, bunch{"tuple", draw(long, n)}, bunch{"map", draw(long, n)})
	}
	all = append(all, bunch{"tuple", odd}, bunch{"map", odd})
	all = append(all, bunch{"long", draw(many, 7)}, bunch{"long", draw(many, 255)}, bunch{"long", draw(many, 1000)})
	if usual.fault == "" {
		all = append(all, bunch{"long", odd}, bunch{"long", append(draw(long, 10), draw(many, 245)...)})
	}
	r.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	return all
}

// check reads {rich, Sender, I, Shape, Term, Texts}, and compares Term with what the texts give.
func check(m *nodes.Message) (sender, i int, err error) {
	term, err := m.Term()
	if err != nil {
		return 0, 0, err
	}
	all, ok := term.(ei.Tuple)
	if !ok || len(all) != 6 || all[0] != ei.Term(ei.Atom("rich")) {
		return 0, 0, fmt.Errorf("%v came", ei.Brief(term, 200))
	}
	b := bunch{shape: all[3].(ei.Atom)}
	for _, text := range all[5].(ei.List) {
		b.texts = append(b.texts, string(text.(ei.Binary)))
	}
	want, err := b.build()
	if err == nil && !ei.Identical(all[4], want) {
		err = fmt.Errorf("a %s of %d atoms (%.20q, …) is %v", b.shape, len(b.texts), b.texts[0], ei.Brief(all[4], 200))
	}
	return int(all[1].(ei.Int)), int(all[2].(ei.Int)), err
}

// Terms of more atoms than a cache holds, and than a header names, of long ones and of odd ones,
// from several senders at once and both ways: each arrives as it was. What a program passes on
// undecoded is whole without the header it came with.
func atomCacheOverwritten(t *testing.T, m *meeting) {
	const senders = 3
	load(t, m.erl, "large")
	seed := rand.Uint64()
	t.Log("seed ", seed)
	random := rand.New(rand.NewPCG(seed, uint64(m.erl.Release().Number)))
	ctx := background(t)
	var plan ei.List
	var out [senders][]bunch
	here, watch := m.mailbox(t, "Here", nil), m.mailbox(t, "Watch", nil)
	due := 0
	for s := range senders {
		in := drawBunches(random)
		due += len(in)
		var terms ei.List
		for _, b := range in {
			terms = append(terms, b.term())
		}
		plan = append(plan, ei.Tuple{ei.Int(s), here.Pid(), terms})
		out[s] = drawBunches(random)
	}
	m.tell(t, "Plan", plan)
	checker := m.pid(t, fmt.Sprintf("large:checker(%d)", senders*len(out[0])))
	again := m.pid(t, fmt.Sprintf("large:checker(%d)", due))
	for _, pid := range []ei.Pid{checker, again} {
		_, err := watch.Monitor(ctx, pid)
		require.NoError(t, err)
	}

	var wg sync.WaitGroup
	sent := m.erl.Async(t, m.about("large:send_rich(Plan)"))
	wg.Go(func() {
		var seen [senders]int
		for range due {
			message, err := here.Receive(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			sender, i, err := check(message)
			if err == nil && i != seen[sender]+1 {
				err = fmt.Errorf("%d came after %d", i, seen[sender])
			}
			if err == nil {
				seen[sender] = i
				err = here.Send(ctx, again, message.Payload)
			}
			if err != nil {
				t.Errorf("message %d of sender %d: %v", i, sender, err)
				return
			}
			message.Release()
		}
	})
	for s, all := range out {
		b, err := m.n.NewMailbox(nil)
		require.NoError(t, err)
		wg.Go(func() {
			for i, of := range all {
				term, err := of.build()
				if err == nil {
					err = b.Send(ctx, checker, ei.Tuple{ei.Atom("rich"), ei.Int(s), ei.Int(i + 1), of.shape, term, of.term().(ei.Tuple)[1]})
				}
				if err != nil {
					t.Errorf("sender %d: %v", s, err)
					return
				}
			}
		})
	}
	wg.Wait()
	require.False(t, t.Failed())
	require.Equal(t, "true", sent())
	for range 2 {
		message, err := watch.Receive(ctx)
		require.NoError(t, err)
		require.Equal(t, dist.OpMonitorPExit, message.Op)
		require.Equal(t, "whole", message.Reason.String(), "from us: %v", message.From == checker)
	}
}

// The cache holds also what messages to nobody have entered into it: the next message, to somebody,
// refers to that.
func atomCacheOfNobody(t *testing.T, m *meeting) {
	b := m.mailbox(t, "B", nil)
	require.NoError(t, m.n.Register(t.Context(), "somebody", b))
	ctx := background(t)
	for round, times := range []int{1, 20, 1000} { // the last in fragments
		before := m.n.Stats().Undeliverable
		m.erl.Do(t, m.about(fmt.Sprintf(`L = lists:append(lists:duplicate(%d,
			[list_to_atom(lists:concat([fresh, %d, "_", I])) || I <- lists:seq(1, 200)])),
			{nobody, N} ! L, {somebody, N} ! L`, times, round)))
		message, err := b.Receive(ctx)
		require.NoError(t, err)
		got, err := message.Term()
		require.NoError(t, err)
		var want ei.List
		for i := range 200 * times {
			want = append(want, ei.Atom(fmt.Sprintf("fresh%d_%d", round, i%200+1)))
		}
		require.Zero(t, ei.Compare(want, got))
		require.EqualValues(t, 1, m.n.Stats().Undeliverable-before)
	}
}
