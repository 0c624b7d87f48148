//go:build unix

package handoff

import (
	"bytes"
	"context"
	"crypto/sha256"
	"math"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/transport/handoff/internal/system"
)

// An heir misbehaves: the owner reports it and goes on serving, in time.
func TestHostileHeir(t *testing.T) {
	hi := appendHello([]byte{kindHello}, hello{minVersion, maxVersion, 1, Terms{Descriptors: 100, StateBytes: 1 << 20}})
	type step func(t *testing.T, ch *Channel)
	say := func(p []byte, fds ...int) step {
		return func(t *testing.T, ch *Channel) { require.NoError(t, ch.conn.Send(fdtest.Soon(t), p, fds...)) }
	}
	hear := func(t *testing.T, ch *Channel) {
		set := &FDSet{}
		require.NoError(t, expect.Err(ch.conn.Receive(fdtest.Soon(t), ch.buf, set, MaxDescriptors)))
		require.NoError(t, set.Close())
	}
	kind := func(k byte) step { return say([]byte{k}) }
	begin := []step{say(hi), hear, kind(kindReady), hear, kind(kindPrepared), hear,
		say(append([]byte{kindReceived}, appendCounts(nil, 3, 0)...)), hear, hear}
	sum := func(s string, n int) step {
		return say(appendAccept([]byte{kindAccept}, sha256.Sum256([]byte(s)), n))
	}
	empty := ErrLeft // an empty packet looks like the end
	if runtime.GOOS == "linux" {
		empty = ErrMalformed
	}
	for _, tt := range []struct {
		name  string
		steps []step
		step  string
		is    error
	}{
		{"silence", nil, stepHello, context.DeadlineExceeded},
		{"garbage", []step{say([]byte("GET / HTTP/1.0\r\n\r\n"))}, stepHello, ErrMalformed},
		{"an empty packet", []step{say(nil)}, stepHello, empty},
		{"not this protocol", []step{say(appendField([]byte{kindHello}, 1, must, []byte("other")))}, stepHello, ErrMalformed},
		{"the hello of another protocol", []step{say(bytes.Replace(hi, []byte(magic), []byte("other-handoff"), 1))}, stepHello, ErrMalformed},
		{"prepared in place of ready", []step{say(hi), hear, kind(kindPrepared)}, stepHello, ErrMalformed},
		{"descriptors with hello", []step{say(hi, 0)}, stepHello, ErrDescriptorsLost},
		{"too long", []step{say(make([]byte, packetLimit+1))}, stepHello, ErrTruncated},
		{"hello and silence", []step{say(hi)}, stepHello, context.DeadlineExceeded},
		{"never prepared", begin[:4], stepStatic, context.DeadlineExceeded},
		{"takes no descriptors", begin[:5], stepOffer, context.DeadlineExceeded},
		{"lies about descriptors", append(slices.Clone(begin[:6]), say(append([]byte{kindReceived}, appendCounts(nil, 2, 0)...))),
			stepOffer, ErrMalformed},
		{"never accepts", begin, stepAccept, context.DeadlineExceeded},
		{"another state", append(slices.Clone(begin), sum("other", 3)), stepAccept, ErrMalformed},
		{"fewer descriptors", append(slices.Clone(begin), sum("abc", 2)), stepAccept, ErrMalformed},
		{"done without the token", append(slices.Clone(begin), kind(kindDone)), stepAccept, ErrMalformed},
		{"no token is taken", append(slices.Clone(begin), sum("abc", 3)), stepCommit, ErrNotTaken},
		{"done, and no token is taken", append(slices.Clone(begin), sum("abc", 3), kind(kindDone)), stepCommit, ErrNotTaken},
		{"refuses at last", append(slices.Clone(begin), sum("abc", 3), say(appendRefusal([]byte{kindRefuse}, stepCommit, ErrOther))),
			stepCommit, ErrOther},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newThing(t, 3, 0)
			x.blob = []byte("abc")
			o := x.offer()
			const long, short = 10 * time.Second, 500 * time.Millisecond
			d := Deadlines{long, long, long, long, long, long, long}
			if tt.is == context.DeadlineExceeded || tt.is == ErrNotTaken {
				*map[string]*time.Duration{
					stepHello: &d.Hello, stepStatic: &d.Static, stepOffer: &d.Offer, stepAccept: &d.Stage, stepCommit: &d.Take,
				}[tt.step] = short
			}
			o.Deadlines = d
			one, other := channels(t)
			done := make(chan error, 1)
			var h Handed
			go func() { var err error; h, err = o.Give(fdtest.Soon(t), one); done <- err }()
			for _, s := range tt.steps {
				s(t, other)
			}
			err := <-done
			require.ErrorIs(t, err, tt.is)
			e := expect.As[*Error](t, err)
			require.Equal(t, tt.step, e.Step)
			require.False(t, h.Moved)
			require.Zero(t, x.released)
			thawed := 0
			if slices.Contains([]string{stepOffer, stepAccept, stepCommit}, tt.step) {
				thawed = 1
			}
			require.Equal(t, thawed, x.thawed)
		})
	}
}

// An owner misbehaves: the heir owns nothing, and keeps nothing.
func TestHostileOwner(t *testing.T) {
	hi := appendHello([]byte{kindHello}, hello{minVersion, maxVersion, 1, Terms{}})
	static := appendChunk([]byte{kindStatic}, 0, 0, nil)
	part := func(k byte, at, n int) []byte { return appendCounts([]byte{k}, at, n) }
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	raw := expect.NoError(r.SyscallConn()).In(t)
	var pipe int
	require.NoError(t, raw.Control(func(fd uintptr) { pipe = int(fd) }))
	raw = expect.NoError(w.SyscallConn()).In(t)
	var far int
	require.NoError(t, raw.Control(func(fd uintptr) { far = int(fd) }))
	file := expect.Open(os.Open(os.Args[0])).In(t)
	var plain int
	raw = expect.NoError(file.SyscallConn()).In(t)
	require.NoError(t, raw.Control(func(fd uintptr) { plain = int(fd) }))
	const mostState = 1000
	longFile := ErrMalformed // no state comes in a file
	if system.MemoryFiles {
		longFile = ErrLimit
	}
	type packet struct {
		p   []byte
		fds []int
	}
	for _, tt := range []struct {
		name    string
		packets []packet
		is      error
	}{
		{"garbage", []packet{{[]byte("nonsense"), nil}}, ErrMalformed},
		{"two descriptors for one", []packet{{hi, nil}, {static, nil}, {part(kindDescriptors, 0, 1), []int{pipe, pipe}}}, ErrMalformed},
		{"one descriptor for two", []packet{{hi, nil}, {static, nil}, {part(kindDescriptors, 0, 2), []int{pipe}}}, ErrMalformed},
		{"none for none", []packet{{hi, nil}, {static, nil}, {part(kindDescriptors, 0, 0), nil}}, ErrMalformed},
		{"not from the beginning", []packet{{hi, nil}, {static, nil}, {part(kindDescriptors, 1, 1), []int{pipe}}}, ErrMalformed},
		{"too many descriptors", []packet{{hi, nil}, {static, nil}, {part(kindDescriptors, 0, 2), []int{pipe, pipe}},
			{part(kindDescriptors, 2, 1), []int{pipe}}}, ErrLimit},
		{"a state that lies", []packet{{hi, nil}, {static, nil}, {appendChunk([]byte{kindState}, 0, 1, []byte("ab")), nil}}, ErrMalformed},
		{"a piece twice", []packet{{hi, nil}, {static, nil}, {appendChunk([]byte{kindState}, 0, 4, []byte("ab")), nil},
			{appendChunk([]byte{kindState}, 0, 4, []byte("ab")), nil}}, ErrMalformed},
		{"a gap", []packet{{hi, nil}, {static, nil}, {appendChunk([]byte{kindState}, 0, 4, []byte("a")), nil},
			{appendChunk([]byte{kindState}, 2, 4, []byte("ab")), nil}}, ErrMalformed},
		{"a piece that is too long", []packet{{hi, nil}, {static, nil}, {appendChunk([]byte{kindState}, 0, 4, []byte("ab")), nil},
			{appendChunk([]byte{kindState}, 2, 4, []byte("abc")), nil}}, ErrMalformed},
		{"another total", []packet{{hi, nil}, {static, nil}, {appendChunk([]byte{kindState}, 0, 4, []byte("ab")), nil},
			{appendChunk([]byte{kindState}, 2, 5, []byte("ab")), nil}}, ErrMalformed},
		{"a piece of nothing", []packet{{hi, nil}, {static, nil}, {appendChunk([]byte{kindState}, 0, 4, nil), nil}}, ErrMalformed},
		{"a state without end", []packet{{hi, nil}, {static, nil}, {appendChunk([]byte{kindState}, 0, math.MaxInt, []byte("ab")), nil}},
			ErrLimit},
		{"too much beforehand", []packet{{hi, nil}, {appendChunk([]byte{kindStatic}, 0, mostState+1, []byte("ab")), nil}}, ErrLimit},
		{"a state in a plain file", []packet{{hi, nil}, {static, nil}, {part(kindStateFile, 0, 3), []int{plain}}}, ErrMalformed},
		{"a file that is too long", []packet{{hi, nil}, {static, nil}, {part(kindStateFile, 0, mostState+1), []int{plain}}}, longFile},
		{"a state in no file", []packet{{hi, nil}, {static, nil}, {part(kindStateFile, 0, 3), nil}}, ErrMalformed},
		{"a descriptor beside the state", []packet{{hi, nil}, {static, nil}, {appendChunk([]byte{kindState}, 0, 0, nil), []int{pipe}},
			{part(kindOffer, 0, 0), []int{pipe}}}, ErrMalformed},
		{"the pipe in place of the state", []packet{{hi, nil}, {static, nil}, {part(kindOffer, 0, 0), []int{pipe}}}, ErrMalformed},
		{"no pipe", []packet{{hi, nil}, {static, nil}, {appendChunk([]byte{kindState}, 0, 0, nil), nil}, {part(kindOffer, 0, 0), nil}},
			ErrMalformed},
		{"a file for a pipe", []packet{{hi, nil}, {static, nil}, {appendChunk([]byte{kindState}, 0, 0, nil), nil},
			{part(kindOffer, 0, 0), []int{plain}}}, ErrMalformed},
		{"the wrong end of the pipe", []packet{{hi, nil}, {static, nil}, {appendChunk([]byte{kindState}, 0, 0, nil), nil},
			{part(kindOffer, 0, 0), []int{far}}}, ErrMalformed},
		{"a file in place of the offer", []packet{{hi, nil}, {static, nil}, {appendChunk([]byte{kindState}, 0, 0, nil), nil},
			{part(kindStateFile, 0, 0), []int{pipe}}}, ErrMalformed},
		{"another count", []packet{{hi, nil}, {static, nil}, {appendChunk([]byte{kindState}, 0, 0, nil), nil},
			{part(kindOffer, 1, 0), []int{pipe}}}, ErrMalformed},
		{"another length", []packet{{hi, nil}, {static, nil}, {appendChunk([]byte{kindState}, 0, 0, nil), nil},
			{part(kindOffer, 0, 1), []int{pipe}}}, ErrMalformed},
		{"no token", []packet{{hi, nil}, {static, nil}, {appendChunk([]byte{kindState}, 0, 0, nil), nil}, {part(kindOffer, 0, 0), []int{pipe}}},
			os.ErrDeadlineExceeded},
		{"silence", []packet{{hi, nil}}, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			one, other := channels(t)
			x := newThing(t, 0, 0)
			a := x.acceptance()
			a.Terms.StateBytes, a.Terms.Descriptors = mostState, 2
			a.Deadlines = Deadlines{Static: 10 * time.Second, Freeze: 10 * time.Second, Take: 300 * time.Millisecond}
			if tt.is == context.DeadlineExceeded { // the static state does not come
				a.Deadlines.Static = 300 * time.Millisecond
			}
			done := make(chan error, 1)
			go func() { _, err := a.Take(fdtest.Soon(t), other); done <- err }()
			for _, p := range tt.packets {
				_ = one.conn.Send(fdtest.Soon(t), p.p, p.fds...)
			}
			err := <-done
			require.ErrorIs(t, err, tt.is)
			if tt.is == os.ErrDeadlineExceeded {
				require.ErrorContains(t, err, "the token within 300ms (Deadlines.Take)")
			}
			require.Zero(t, x.started)
		})
	}
}

// Decoders fail only by returning an error, and what they accept is the same after encoding and
// decoding it again.
func FuzzOffer(f *testing.F) {
	f.Add(byte(kindHello), appendHello(nil, hello{1, 1, 7,
		Terms{What: "w", Plugins: []string{"tcp"}, Require: []string{"r"}, Know: []string{"k"}, Descriptors: 3}}))
	f.Add(byte(kindState), appendChunk(nil, 3, 10, []byte("abc")))
	f.Add(byte(kindDescriptors), appendCounts(nil, 200, 17))
	f.Add(byte(kindAccept), appendAccept(nil, sha256.Sum256(nil), 3))
	f.Add(byte(kindRefuse), appendRefusal(nil, stepOffer, ErrLimit))
	f.Add(byte(kindAsk), appendWords(nil, []string{"upgrade", ""}))
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		if h, err := parseHello(body); err == nil {
			again := expect.NoError(parseHello(appendHello(nil, h))).In(t)
			require.Equal(t, h, again)
		}
		if m, err := parseOffer(packet{kind, body}); err == nil && kind == kindState {
			again := expect.NoError(parseOffer(packet{kind, appendChunk(nil, m.first, m.total, m.data)})).In(t)
			require.Equal(t, m.first, again.first)
			require.Equal(t, m.total, again.total)
			require.True(t, bytes.Equal(m.data, again.data))
		}
		if sum, n, err := parseAccept(body); err == nil && len(sum) == sha256.Size {
			again, m, err := parseAccept(appendAccept(nil, [sha256.Size]byte(sum), n))
			require.NoError(t, err)
			require.Equal(t, sum, again)
			require.Equal(t, n, m)
		}
		require.Error(t, parseRefusal(body))
		if words, err := parseWords(body); err == nil {
			again := expect.NoError(parseWords(appendWords(nil, words))).In(t)
			require.Equal(t, words, again)
		}
	})
}
