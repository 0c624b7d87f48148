package interop

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
)

// senders is how many processes send at once, each way.
const senders = 50

// largest is the size of the largest message over the usual carriage, in bytes.
func largest() int {
	switch {
	case usual.fault != "":
		return 2 << 20
	case usual.file != "" || testing.Short():
		return 20 << 20
	}
	return 100 << 20
}

// drawSizes gives each sender the sizes of its messages: most are small, some are about as long as
// what goes in one frame, a few are large, and one has most bytes.
func drawSizes(r *rand.Rand, most int) [][]int {
	each, large := 12, 6
	if usual.fault != "" {
		each, large = 3, 2
	}
	upTo := func(from, to int) int { return int(float64(from) * math.Pow(float64(to)/float64(from), r.Float64())) }
	about := []int{64 << 10, 128 << 10, 192 << 10}
	all := make([][]int, senders)
	for s := range all {
		for range each {
			size := upTo(1, 64<<10) - 1
			switch k := r.IntN(20); {
			case k < 2:
				size = about[r.IntN(len(about))] + r.IntN(400) - 300 // the control message takes some
			case k < 5:
				size = upTo(64<<10, 1<<20)
			}
			all[s] = append(all[s], size)
		}
	}
	for range large {
		all[r.IntN(senders)][r.IntN(each)] = upTo(1<<20, min(20<<20, most))
	}
	all[r.IntN(senders)][r.IntN(each)] = most
	return all
}

// A letter is a message as module large has them.
type letter struct{ sender, i, size int }

// open reads a letter and compares its checksum.
func open(m *nodes.Message) (l letter, err error) {
	c := ei.NewCursor(m.Payload)
	if _, err = c.Tuple(); err != nil {
		return l, err
	}
	tag, err := c.Atom()
	sender, err2 := c.Int()
	i, err3 := c.Int()
	crc, err4 := c.Uint()
	if err := errors.Join(err, err2, err3, err4); err != nil {
		return l, err
	}
	l.sender, l.i = int(sender), int(i)
	if want := ei.Atom("mail" + strconv.Itoa(l.sender)); tag != want {
		return l, fmt.Errorf("%v came in place of %v", tag, want)
	}
	n, err := c.List()
	sum := uint32(0)
	for range n {
		var piece []byte
		if piece, err = c.Binary(); err != nil {
			break
		}
		l.size += len(piece)
		sum = crc32.Update(sum, crc32.IEEETable, piece)
	}
	if err == nil {
		err = c.Nil()
	}
	if err == nil && uint64(sum) != crc {
		err = fmt.Errorf("letter %+v: its checksum is %d, not %d", l, sum, crc)
	}
	return l, err
}

// A post knows what has come of each sender, and what is due.
type post struct {
	mu    sync.Mutex
	sizes [][]int
	seen  []int
	left  int
}

func newPost(sizes [][]int) *post {
	p := &post{sizes: sizes, seen: make([]int, len(sizes))}
	for _, s := range sizes {
		p.left += len(s)
	}
	return p
}

func (p *post) take(l letter) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case l.sender < 0 || l.sender >= len(p.sizes):
		return fmt.Errorf("sender %d", l.sender)
	case l.i != p.seen[l.sender]+1:
		return fmt.Errorf("%d came after %d of sender %d", l.i, p.seen[l.sender], l.sender)
	case l.size != p.sizes[l.sender][l.i-1]:
		return fmt.Errorf("message %d of sender %d has %d bytes, not %d", l.i, l.sender, l.size, p.sizes[l.sender][l.i-1])
	}
	p.seen[l.sender]++
	p.left--
	return nil
}

// Many processes send messages of all sizes at once, both ways: each message comes once and whole,
// and those of one sender in their order.
func sizesBothWays(t *testing.T, m *meeting) {
	load(t, m.erl, "large")
	seed := rand.Uint64()
	t.Log("seed ", seed)
	random := rand.New(rand.NewPCG(seed, uint64(m.erl.Release().Number)))
	in, out := drawSizes(random, largest()), drawSizes(random, min(20<<20, largest()))
	if random.IntN(2) == 0 { // the largest one needs memory on both sides
		in, out = out, in
	}
	ctx := background(t)

	boxes := make([]*nodes.Mailbox, 5)
	var plan ei.List
	for i := range boxes {
		b, err := m.n.NewMailbox(nil)
		require.NoError(t, err)
		require.NoError(t, m.n.Register(ctx, "box"+strconv.Itoa(i), b))
		boxes[i] = b
	}
	due := make([]int, len(boxes))
	for s, sizes := range in {
		to := ei.Term(boxes[s%len(boxes)].Pid())
		if s%2 == 0 { // by name
			to = ei.Tuple{ei.Atom("box" + strconv.Itoa(s%len(boxes))), ei.Atom(m.n.Name())}
		}
		due[s%len(boxes)] += len(sizes)
		plan = append(plan, ei.Tuple{ei.Int(s), to, ints(sizes)})
	}
	m.tell(t, "Plan", plan)

	var wg sync.WaitGroup
	sent := m.erl.Async(t, m.about("large:send(Plan)"))
	came := newPost(in)
	for i, b := range boxes {
		wg.Go(func() {
			for range due[i] {
				message, err := b.Receive(ctx)
				if err == nil {
					var l letter
					if l, err = open(message); err == nil {
						err = came.take(l)
					}
					message.Release()
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}

	checkers, counts := make([]ei.Pid, 10), make([]int, 10)
	for s, sizes := range out {
		counts[s%len(counts)] += len(sizes)
	}
	watch, err := m.n.NewMailbox(nil)
	require.NoError(t, err)
	for i, n := range counts {
		checkers[i] = m.pid(t, fmt.Sprintf("large:checker(%d)", n))
		_, err = watch.Monitor(ctx, checkers[i])
		require.NoError(t, err)
	}
	base := make([]byte, 1_000_003)
	for i := range base {
		base[i] = byte(random.Uint32())
	}
	for s, sizes := range out {
		b, err := m.n.NewMailbox(nil)
		require.NoError(t, err)
		starts := make([]int, len(sizes))
		for i := range starts {
			starts[i] = random.IntN(len(base))
		}
		wg.Go(func() {
			for i, size := range sizes {
				if err := b.Send(ctx, checkers[s%len(checkers)], ei.Tuple{b.Pid(), mail(s, i+1, base, starts[i], size)}); err != nil {
					t.Errorf("sender %d: %v", s, err)
					return
				}
			}
		})
		wg.Go(func() {
			if err := answers(ctx, b, s, sizes); err != nil {
				t.Errorf("sender %d: %v", s, err)
			}
		})
	}
	wg.Wait()
	require.False(t, t.Failed())
	require.Equal(t, "true", sent())
	require.Zero(t, came.left)
	for range checkers {
		message, err := watch.Receive(ctx)
		require.NoError(t, err)
		require.Equal(t, "whole", message.Reason.String())
	}
}

func ints(all []int) ei.List {
	l := make(ei.List, len(all))
	for i, v := range all {
		l[i] = ei.Int(v)
	}
	return l
}

// mail makes a letter of bytes of base, from start on and over again, in one piece or in many.
func mail(sender, i int, base []byte, start, size int) ei.Tuple {
	piece := size
	if i%3 == 0 {
		piece = 1000 + size/1000
	}
	var pieces ei.List
	sum := uint32(0)
	for left := size; left > 0 || len(pieces) == 0; {
		b := base[start:min(len(base), start+min(piece, left))]
		left -= len(b)
		start = (start + len(b)) % len(base)
		pieces = append(pieces, ei.Binary(b))
		sum = crc32.Update(sum, crc32.IEEETable, b)
	}
	return ei.Tuple{ei.Atom("mail" + strconv.Itoa(sender)), ei.Int(sender), ei.Int(i), ei.Int(sum), pieces}
}

// answers takes the answers of a checker: a letter as it was, or its size.
func answers(ctx context.Context, b *nodes.Mailbox, sender int, sizes []int) error {
	for i, size := range sizes {
		m, err := b.Receive(ctx)
		if err != nil {
			return err
		}
		want := ei.Tuple{ei.Atom("answer"), ei.Int(sender), ei.Int(i + 1), ei.Int(size)}
		if l, err := open(m); err == nil {
			if l != (letter{sender, i + 1, size}) {
				return fmt.Errorf("%+v came for %v", l, want)
			}
		} else if got, err2 := m.Term(); err2 != nil || !ei.Identical(got, want) {
			return fmt.Errorf("%v came for %v: %w", ei.Brief(got, 100), want, err)
		}
		m.Release()
	}
	return nil
}

// Each of the two flags for headers by itself, both and neither: an Erlang node and this one agree
// on the form of their frames, and connections live.
func headersFollowTheFlags(t *testing.T, m *meeting) {
	const cache, fragments = dist.FlagDistHdrAtomCache, dist.FlagFragments
	erl, port := m.erl, m.erl.EpmdPort()
	load(t, erl, "large")
	for name, without := range map[string]dist.Flags{"neither": cache | fragments, "fragments": cache, "cache": fragments, "both": 0} {
		t.Run(name, func(t *testing.T) {
			cfg := config(port)
			cfg.Flags = dist.FlagsDefault &^ without
			n := startNode(t, cfg)
			c, err := n.Connect(background(t), erl.Name())
			require.NoError(t, err)
			n.Expose("go", "same", func(_ context.Context, args []ei.Term) (any, error) { return args[0], nil })
			for _, size := range []int{10, 10, 100_000, 3 << 20} {
				sent := ei.Tuple{ei.Atom("hello"), ei.Binary(make([]byte, size))}
				got, err := n.RPC(background(t), erl.Name(), "erlang", "hd", ei.List{sent})
				require.NoError(t, err)
				require.True(t, ei.Identical(sent, got))
			}
			require.Equal(t, "true", erl.Eval(t, fmt.Sprintf("B = large:bytes(3 bsl 20), {hello, B} =:= rpc:call('%s', go, same, [{hello, B}])",
				n.Name())))
			require.NoError(t, c.Err())
			require.Same(t, c, n.Conn(erl.Name()))
		})
	}
}
