//go:build unix

package handoff

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/stretchr/testify/require"
)

// What is required of the other side, and known there, does not prevent the hand-off, nor does what
// only one side names or knows.
func TestTermsThatAreMet(t *testing.T) {
	for _, tt := range []struct{ ours, theirs Terms }{
		{Terms{Plugins: []string{"tcp"}, Require: []string{"a"}, Know: []string{"b", "c"}},
			Terms{Plugins: []string{"unix", "rot13", "tcp"}, Require: []string{"b"}, Know: []string{"d", "a", "e"}}},
		{Terms{What: "one"}, Terms{Plugins: []string{"tcp"}}},
		{Terms{Know: []string{"b"}}, Terms{What: "one"}},
	} {
		x := newThing(t, 1, 1)
		o, a := x.offer(), x.acceptance()
		o.Terms, a.Terms = tt.ours, tt.theirs
		if len(tt.ours.Plugins) > 0 {
			o.Plugins = func() []string { return []string{"rot13"} }
		}
		h, gave, took := exchanged(t, o, a)
		require.NoError(t, gave)
		require.NoError(t, took)
		require.True(t, h.Moved)
	}
}

// Every refusal is reported with a reason on both sides, and leaves everything as it was; what can
// be checked beforehand is refused before anything is frozen.
func TestOfferRefusedOnBothSides(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name   string
		change func(x *thing, o *Offer, a *Acceptance)
		step   string
		is     error
		frozen bool
	}{
		{"plug-in", func(_ *thing, o *Offer, a *Acceptance) {
			o.Terms.Plugins, a.Terms.Plugins = []string{"tcp", "rot13"}, []string{"tcp"}
		}, stepHello, ErrUnknown, false},
		{"plug-in by now", func(_ *thing, o *Offer, a *Acceptance) {
			o.Terms.Plugins, a.Terms.Plugins = []string{"tcp"}, []string{"tcp"}
			o.Plugins = func() []string { return []string{"rot13"} }
		}, stepHello, ErrUnknown, false},
		{"feature of the owner", func(_ *thing, o *Offer, a *Acceptance) { o.Terms.Require, a.Terms.Know = []string{"b"}, []string{"a"} },
			stepHello, ErrUnknown, false},
		{"feature of the heir", func(_ *thing, o *Offer, a *Acceptance) { a.Terms.Require, o.Terms.Know = []string{"b"}, []string{"a"} },
			stepHello, ErrUnknown, false},
		{"another one", func(_ *thing, o *Offer, a *Acceptance) { o.Terms.What, a.Terms.What = "one", "other" }, stepHello, ErrOther, false},
		{"too many expected", func(_ *thing, o *Offer, a *Acceptance) { o.Terms.Descriptors, a.Terms.Descriptors = 10, 9 },
			stepHello, ErrLimit, false},
		{"too many by now", func(x *thing, o *Offer, a *Acceptance) {
			o.Count, a.Terms.Descriptors = func() int { return len(x.fds) }, 2
		}, stepHello, ErrLimit, false},
		{"too many", func(_ *thing, o *Offer, a *Acceptance) { a.Terms.Descriptors = 2 }, stepOffer, ErrLimit, true},
		{"too long", func(_ *thing, o *Offer, a *Acceptance) { a.Terms.StateBytes = 2 }, stepOffer, ErrLimit, true},
		{"too long beforehand", func(_ *thing, o *Offer, a *Acceptance) {
			o.Static = func(context.Context) ([]byte, error) { return make([]byte, 1000), nil }
			a.Terms.StateBytes = 999
		}, stepStatic, ErrLimit, false},
		{"no static state", func(_ *thing, o *Offer, _ *Acceptance) {
			o.Static = func(context.Context) ([]byte, error) { return nil, ErrOther }
		}, stepStatic, ErrOther, false},
		{"not prepared", func(_ *thing, _ *Offer, a *Acceptance) {
			a.Prepare = func(context.Context, []byte) error { return ErrOther }
		}, stepStatic, ErrOther, false},
		{"not frozen", func(_ *thing, o *Offer, _ *Acceptance) {
			o.Freeze = func(context.Context) (Frozen, error) { return nil, ErrBusy }
		}, stepFreeze, ErrBusy, false},
		{"not staged", func(x *thing, _ *Offer, _ *Acceptance) { x.stageErr = errors.Join(broken, ErrLimit) }, stepAccept, ErrLimit, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newThing(t, 3, 100)
			o, a := x.offer(), x.acceptance()
			tt.change(x, o, a)
			h, gave, took := exchanged(t, o, a)
			require.False(t, h.Moved)
			require.ErrorIs(t, gave, tt.is)
			require.ErrorIs(t, took, tt.is)
			e := expect.As[*Error](t, gave)
			require.Equal(t, tt.step, e.Step)
			thawed := 0
			if tt.frozen {
				thawed = 1
			}
			require.Equal(t, []int{thawed, 0, 0, 0}, []int{x.thawed, x.released, x.started, x.discarded})
		})
	}
}

// A missing mandatory field is reported by its own side, at once and before anything is frozen; the
// other side is told.
func TestMandatoryFields(t *testing.T) {
	told := func(err error) {
		refused := expect.As[*RefusedError](t, err)
		require.Equal(t, stepHello, refused.Step)
		require.Contains(t, refused.Reason, "is nil")
	}
	missing := func(err error, side string, field string) {
		e := expect.As[*Error](t, err)
		require.Equal(t, []any{side, stepHello}, []any{e.Side, e.Step})
		require.EqualError(t, e.Err, "mandatory field "+field+" is nil")
	}
	x := newThing(t, 1, 1)

	one, other := channels(t)
	h, err := (&Offer{}).Give(fdtest.Soon(t), one) // the other end is not used yet
	missing(err, oldOwner, "Offer.Freeze")
	require.Zero(t, h.Silence)
	require.False(t, h.Moved)
	taken, err := x.acceptance().Take(fdtest.Soon(t), other)
	require.False(t, taken.Owns)
	told(err)

	one, other = channels(t)
	taken, err = (&Acceptance{}).Take(fdtest.Soon(t), other)
	missing(err, newOwner, "Acceptance.Stage")
	require.False(t, taken.Owns)
	h, err = x.offer().Give(fdtest.Soon(t), one)
	require.False(t, h.Moved)
	told(err)
	require.Zero(t, x.thawed, "it was frozen")
}

// A field that is not known is skipped, unless it must not be.
func TestUnknownFields(t *testing.T) {
	h := hello{minVersion, maxVersion, 7, Terms{What: "w", Plugins: []string{"p", ""}, Require: []string{"r"}, Know: []string{"r", "k"},
		Descriptors: 300, StateBytes: 1 << 20}}
	got := expect.NoError(parseHello(appendField(appendHello(nil, h), 99, may, []byte("x")))).In(t)
	require.Equal(t, h, got)
	require.ErrorIs(t, expect.Err(parseHello(appendField(appendHello(nil, h), 99, must, []byte("x")))), ErrUnknown)
	h.min, h.max = maxVersion+1, maxVersion+2
	got = expect.NoError(parseHello(appendHello(nil, h))).In(t)
	require.ErrorIs(t, checkHello(got, Terms{}), ErrVersion)
}

// Fields that contradict themselves are refused, whoever sends them.
func TestMalformedFields(t *testing.T) {
	var text string
	var number int
	var list []string
	for name, tt := range map[string]struct {
		b  string
		is error
	}{
		"a field that need not be known":    {"\x08\x01x" + "\x00\x00", nil},
		"one that must be":                  {"\x09\x00", ErrUnknown},
		"field 0":                           {"\x01\x00", ErrUnknown},
		"half a tag":                        {"\x80", ErrMalformed},
		"no length":                         {"\x03", ErrMalformed},
		"half a length":                     {"\x03\x80", ErrMalformed},
		"less than its length":              {"\x03\x02a", ErrMalformed},
		"a length beyond all":               {"\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a", ErrMalformed},
		"no number":                         {"\x05\x00", ErrMalformed},
		"half a number":                     {"\x05\x01\x80", ErrMalformed},
		"a number and more":                 {"\x05\x02\x01\x01", ErrMalformed},
		"a number beyond all":               {"\x05\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", ErrMalformed},
		"as many elements as a list has":    {strings.Repeat("\x07\x00", listLimit), nil},
		"one more":                          {strings.Repeat("\x07\x00", listLimit+1), ErrMalformed},
		"the same one twice, the last goes": {"\x03\x01a\x03\x01b", nil},
	} {
		list = nil
		require.ErrorIs(t, readFields([]byte(tt.b), &text, &number, &list), tt.is, name)
	}
	for _, h := range []hello{{}, {min: 0, max: 1}, {min: 2, max: 1}} {
		require.ErrorIs(t, expect.Err(parseHello(appendHello(nil, h))), ErrMalformed)
	}
	require.ErrorIs(t, expect.Err(parseHello(nil)), ErrMalformed)
	require.ErrorIs(t, expect.Err(parseHello(appendField(nil, 11, must, nil))), ErrUnknown)
}

// A refusal says why by a number where this side knows it, else in words alone.
func TestRefusalWire(t *testing.T) {
	for code, known := range refusals {
		if known != nil {
			require.Equal(t, &RefusedError{stepStage, "it is so: " + known.Error(), known},
				parseRefusal(appendRefusal(nil, stepStage, fmt.Errorf("it is so: %w", known))), "%d", code)
		}
	}
	require.Equal(t, &RefusedError{stepStage, "it is so", nil}, parseRefusal(appendRefusal(nil, stepStage, errors.New("it is so"))))
	var cut *RefusedError // a reason that is too long loses no part of a character
	for _, before := range []string{"", "x"} {
		require.ErrorAs(t, parseRefusal(appendRefusal(nil, stepStage, errors.New(before+strings.Repeat("é", chunkSize)))), &cut)
		require.True(t, utf8.ValidString(cut.Reason))
		require.InDelta(t, chunkSize, len(cut.Reason), 1)
	}
	require.Equal(t, &RefusedError{stepHello, "", nil}, parseRefusal(nil))
	require.Equal(t, &RefusedError{stepHello, "", nil}, parseRefusal(appendNumber(nil, 1, may, len(refusals))))
}
