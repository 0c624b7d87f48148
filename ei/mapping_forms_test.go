package ei_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// Each tag is read into `any` and into the type of its term, as Decode gives it.
func TestUnmarshalTags(t *testing.T) {
	for _, tt := range tagCases {
		if tt.tag == ei.TagListExt && strings.HasPrefix(tt.bytes, "l\x00\x00\x00\x00") {
			continue // a list of no elements is its tail, to a tree only
		}
		for _, data := range []string{tt.bytes, "h\x02j" + tt.bytes} {
			var inAny, inOwn any
			own := typedPointer(tt.term)
			if data == tt.bytes {
				require.NoError(t, ei.Raw(data).Unmarshal(&inAny), "%v", tt.tag)
				require.NoError(t, ei.Raw(data).Unmarshal(own), "%v", tt.tag)
			} else {
				pair := struct {
					_   struct{} `ei:"tuple"`
					Nil []int
					Any any
				}{}
				require.NoError(t, ei.Raw(data).Unmarshal(&pair), "%v", tt.tag)
				inAny = pair.Any
				require.NoError(t, ei.Raw(data[2+1:]).Unmarshal(own))
			}
			inOwn = pointee(own)
			require.Equal(t, tt.term, inAny, "%v", tt.tag)
			require.Equal(t, tt.term, inOwn, "%v", tt.tag)
		}
	}
}

// Malformed terms are refused as Decode refuses them, whatever they are to become.
func TestUnmarshalMalformed(t *testing.T) {
	for _, tt := range malformed {
		data := []byte(tt.data)
		_, want := ei.Decode(data)
		var v any
		err := ei.Unmarshal(data, &v)
		require.Equal(t, want, err, "%q", tt.data)
		for _, into := range []any{new(int), new(float64), new(string), new([]byte), new([3]byte), new([]any), new(map[any]any),
			new(quote), new(props),
			new(user), new(*int), new(ei.Optional[any]), new(ei.Result[any]), new(shape), new(ei.Atom), new(ei.Pid), new(bool), new([]string),
			new(map[string]string), new(struct{}), new(ei.Raw), new(binKeys), new(strKeys)} {
			err := ei.DecodeOptions{LenientText: true, AtomText: true}.Unmarshal(ei.Raw(data), into)
			if err == nil { // a Raw needs no version byte, and what is not looked at may be wrong: equal keys
				require.True(t, errors.Is(want, ei.ErrDuplicate) || errors.Is(want, ei.ErrVersion), "%q, %T: %v", tt.data, into, want)
			}
		}
	}
}

func TestUnmarshalAround(t *testing.T) {
	var n int
	require.ErrorIs(t, ei.Unmarshal(nil, &n), ei.ErrTruncated)
	require.ErrorIs(t, ei.Unmarshal([]byte("\x83"), &n), ei.ErrTruncated)
	require.ErrorIs(t, ei.Unmarshal([]byte("a\x01"), &n), ei.ErrVersion)
	require.ErrorIs(t, ei.Unmarshal([]byte("\x83\x83a\x01"), &n), ei.ErrTag)
	require.ErrorIs(t, ei.Unmarshal([]byte("\x83a\x01a"), &n), ei.ErrTrailing)
	require.ErrorIs(t, ei.Raw("a\x01a").Unmarshal(&n), ei.ErrTrailing)
	require.ErrorIs(t, ei.Raw("").Unmarshal(&n), ei.ErrTruncated)
	require.ErrorIs(t, ei.Raw("\x83a\x01").Unmarshal(&n), ei.ErrTag)
	require.Error(t, ei.UnmarshalTerm(nil, &n))
	require.ErrorIs(t, ei.UnmarshalTerm(ei.Raw(""), &n), ei.ErrTruncated)
	require.Error(t, ei.UnmarshalTerm(ei.Tuple{nil}, new(any)))
	require.ErrorIs(t, ei.UnmarshalTerm(ei.Tuple{ei.Raw("")}, new(any)), ei.ErrTruncated)

	// compressed
	packed := func(plain string) []byte {
		b, err := ei.AppendCompressed(ei.AppendVersion(nil), ei.Raw(plain), 9)
		require.NoError(t, err)
		return b
	}
	var s string
	require.NoError(t, ei.Unmarshal(packed("m\x00\x00\x10\x00"+strings.Repeat("x", 4096)), &s))
	require.Len(t, s, 4096)
	require.ErrorIs(t, ei.Unmarshal(packed("a\x01a"), &n), ei.ErrCompressed)
	require.ErrorIs(t, ei.Unmarshal(append(packed("a\x01"), 1), &n), ei.ErrTrailing)
	require.ErrorIs(t, ei.Unmarshal(packed("w\x01a"), &n), ei.ErrType)
	require.ErrorIs(t, ei.Raw(packed("a\x01")[1:]).Unmarshal(&n), ei.ErrCompressed)
	require.ErrorIs(t, ei.DecodeOptions{Limits: ei.Limits{Decompressed: 100}}.Unmarshal(
		ei.Raw(packed("m\x00\x00\x10\x00"+strings.Repeat("x", 4096))), &s), ei.ErrLimit)

	// LOCAL_EXT
	local := []byte("\x83yabc")
	var a any
	var term ei.Term
	var l ei.Local
	require.NoError(t, ei.Unmarshal(local, &a))
	require.Equal(t, ei.Local("abc"), a)
	require.NoError(t, ei.Unmarshal(local, &term))
	require.Equal(t, ei.Local("abc"), term)
	require.NoError(t, ei.Unmarshal(local, &l))
	require.Equal(t, ei.Local("abc"), l)
	for _, v := range []any{&n, &s, new(quote), new([]any), new(*any), new(ei.Optional[any]), new(ei.Raw)} {
		require.Error(t, ei.Unmarshal(local, v), "%T", v)
	}
	require.ErrorIs(t, ei.Raw("yabc").Unmarshal(&a), ei.ErrLocal)
	require.ErrorIs(t, ei.Unmarshal([]byte("\x83h\x01yabc"), &a), ei.ErrLocal)
	require.ErrorIs(t, ei.Unmarshal([]byte("\x83h\x01yabc"), &a), ei.ErrLocal)

	// where there is nothing to store in
	var mapping *ei.MappingError
	for _, v := range []any{nil, 5, quote{}, (*int)(nil), map[string]int{}, []int{}, (*quote)(nil), func() {}} {
		err := ei.Unmarshal([]byte("\x83a\x01"), v)
		require.ErrorAs(t, err, &mapping, "%T", v)
		require.NotEmpty(t, err.Error())
	}
}

func TestUnmarshalCacheRefs(t *testing.T) {
	refs := []ei.Atom{"order_id", "state", "new", "rec", "circle", "true", "nil", "ok", "stop", "flag"}
	read := func(data string, v any) error {
		c := ei.NewCursor([]byte(data))
		c.CacheRefs = refs
		err := c.Unmarshal(v)
		if err == nil {
			require.Zero(t, c.Len())
		} else {
			require.Zero(t, c.Offset())
		}
		return err
	}
	var q quote
	require.NoError(t, read("t\x00\x00\x00\x02R\x00m\x00\x00\x00\x01xR\x01R\x02", &q))
	require.Equal(t, quote{OrderID: "x", State: "new"}, q)
	var r record
	require.NoError(t, read("h\x03R\x03m\x00\x00\x00\x01xR\x06", &r))
	require.Equal(t, record{Name: "x"}, r)
	var s shape
	require.NoError(t, read("h\x02R\x04a\x01", &s))
	require.Equal(t, circle{R: 1}, s)
	var b bool
	require.NoError(t, read("R\x05", &b))
	require.True(t, b)
	p := ptr(5)
	require.NoError(t, read("R\x06", &p))
	require.Nil(t, p)
	o := ei.Some(ei.Atom("x"))
	require.NoError(t, read("R\x06", &o))
	require.False(t, o.Valid)
	var res ei.Result[ei.Atom]
	require.NoError(t, read("h\x02R\x07R\x02", &res))
	require.Equal(t, ei.Result[ei.Atom]{Value: "new"}, res)
	require.NoError(t, read("R\x08", new(stop)))
	var pr props
	require.NoError(t, read("l\x00\x00\x00\x01R\x09j", &pr))
	require.True(t, pr.Flag)
	var m map[ei.Atom]any
	require.NoError(t, read("t\x00\x00\x00\x01R\x00R\x01", &m))
	require.Equal(t, map[ei.Atom]any{"order_id": ei.Atom("state")}, m)
	var a any
	require.NoError(t, read("h\x02R\x00R\x01", &a))
	require.Equal(t, ei.Tuple{ei.Atom("order_id"), ei.Atom("state")}, a)
	require.ErrorIs(t, read("t\x00\x00\x00\x02R\x00m\x00\x00\x00\x01xw\x08order_idm\x00\x00\x00\x01y", &q), ei.ErrDuplicate)
	require.ErrorIs(t, read("R\x0a", &b), ei.ErrAtomCache)
	require.ErrorIs(t, read("R\x0a", &a), ei.ErrAtomCache)
	require.ErrorIs(t, read("t\x00\x00\x00\x01R\x0aj", &q), ei.ErrAtomCache)
	require.ErrorIs(t, read("t\x00\x00\x00\x01w\x01xR\x0a", &q), ei.ErrAtomCache)
	require.ErrorIs(t, read("h\x03R\x0am\x00\x00\x00\x01xR\x06", &r), ei.ErrAtomCache)
	require.ErrorIs(t, ei.Raw("R\x00").Unmarshal(&a), ei.ErrAtomCache)
	require.ErrorIs(t, read("R\x00", new(int)), ei.ErrType)
}

func TestUnmarshalSharesMemory(t *testing.T) {
	type all struct {
		A []byte
		B ei.Binary
		C any
		D ei.Raw
		E [3]byte
		F string
		G ei.Term
		H ei.Atom
		I map[string]string
		J ei.Optional[[]byte]
		K ei.Result[[]byte]
		L *[]byte
		M struct {
			_ struct{} `ei:"tuple"`
			X ei.Bitstring
		}
	}
	data := encoded(t, `#{a => <<"abc">>,b => <<"abc">>,c => <<"abc">>,d => <<"abc">>,e => <<"abc">>,f => <<"abc">>,`+
		`g => {<<"abc">>},h => abc,`+
		`i => #{<<"abc">> => <<"abc">>},j => <<"abc">>,k => {ok,<<"abc">>},l => <<"abc">>,m => {<<"abc",1:3>>}}`)
	read := func(o ei.DecodeOptions) (v all, text string) {
		data := bytes.Clone(data)
		require.NoError(t, o.Unmarshal(ei.Raw(data), &v))
		copy(data, bytes.ReplaceAll(data, []byte("abc"), []byte("xyz")))
		b := appended(t, v)
		return v, ei.Raw(b).String()
	}
	_, text := read(ei.DecodeOptions{})
	require.NotContains(t, text, "xyz")
	v, text := read(ei.DecodeOptions{Alias: true})
	require.Equal(t, "abc", v.F)
	require.Equal(t, ei.Atom("abc"), v.H)
	require.Equal(t, "abc", string(v.E[:]))
	require.Equal(t, map[string]string{"abc": "abc"}, v.I)
	require.Equal(t, "xyz", string(v.A), "%s", text)
	require.Equal(t, ei.Binary("xyz"), v.B)
	require.Equal(t, ei.Binary("xyz"), v.C)
	require.Equal(t, ei.Tuple{ei.Binary("xyz")}, v.G)
	require.Equal(t, 3, cap(v.A), "append must not write into the input")

	// compressed: it is a memory of its own
	packed, err := ei.AppendCompressed(ei.AppendVersion(nil), ei.Raw(data[1:]), 9)
	require.NoError(t, err)
	var w all
	require.NoError(t, ei.DecodeOptions{Alias: true}.Unmarshal(ei.Raw(packed), &w))
	for i := range packed {
		packed[i] = 0
	}
	require.Equal(t, "abc", string(w.A))

	term := ei.Binary("abc")
	var b []byte
	require.NoError(t, ei.DecodeOptions{Alias: true}.Unmarshal(term, &b))
	b[0] = 'z'
	require.Equal(t, ei.Binary("abc"), term)
	var m ei.Tuple
	require.NoError(t, ei.UnmarshalTerm(ei.Tuple{term}, &m))
	m[0].(ei.Binary)[0] = 'z'
	require.Equal(t, ei.Binary("abc"), term)
}

func TestUnmarshalLimits(t *testing.T) {
	bytesOf := func(n int) ei.DecodeOptions { return ei.DecodeOptions{Limits: ei.Limits{Bytes: n}} }
	atomsOf := func(n int) ei.DecodeOptions { return ei.DecodeOptions{Limits: ei.Limits{Atoms: n}} }
	data := encoded(t, "[a,b,c,a]")
	for _, v := range []any{new([]ei.Atom), new(any), new(ei.List), new([4]ei.Atom), new([]any), new(ei.Raw)} {
		require.NoError(t, bytesOf(len(data)).Unmarshal(ei.Raw(data), v))
		require.NoError(t, bytesOf(len(data)-1).Unmarshal(ei.Raw(data), v), "%T", v)
		require.ErrorIs(t, bytesOf(len(data)-2).Unmarshal(ei.Raw(data), v), ei.ErrLimit, "%T", v)
		require.ErrorIs(t, bytesOf(len(data)-2).Unmarshal(ei.Raw(data[1:]), v), ei.ErrLimit, "%T", v)
		require.NoError(t, bytesOf(-1).Unmarshal(ei.Raw(data), v))
		require.NoError(t, atomsOf(4).Unmarshal(ei.Raw(data), v))
		require.NoError(t, atomsOf(-1).Unmarshal(ei.Raw(data), v))
	}
	for _, v := range []any{new([]ei.Atom), new(any), new(ei.List), new([4]ei.Atom), new(ei.Optional[any])} {
		require.ErrorIs(t, atomsOf(2).Unmarshal(ei.Raw(data), v), ei.ErrLimit, "%T", v)
	}
	var texts []string
	require.ErrorIs(t, ei.DecodeOptions{AtomText: true, Limits: ei.Limits{Atoms: 2, Bytes: 5}}.Unmarshal(ei.Raw(data), &texts), ei.ErrLimit)
}

// A head that announces more than there is takes no memory.
func TestUnmarshalAnnounced(t *testing.T) {
	for _, data := range []string{"l\x7f\xff\xff\xff", "t\x3f\xff\xff\xff", "i\x7f\xff\xff\xff", "m\x7f\xff\xff\xff", "o\x7f\xff\xff\xff\x00",
		"k\xff\xff",
		"l\x00\x01\x00\x00" + strings.Repeat("j", 65000)} {
		for _, v := range []any{new([]quote), new([][1000]int), new(map[string]quote), new([]byte), new(string), new(*bigStruct),
			new([]bigStruct),
			new(bigStruct), new(any), new([]any), new(pairs)} {
			start := time.Now()
			n := allocated(func() {
				for _, o := range []ei.DecodeOptions{{}, {LenientText: true}} {
					require.Error(t, o.Unmarshal(ei.Raw(data), v))
				}
			})
			require.Less(t, n, 1<<20+200*len(data), "%T, %q: %v", v, data[:3], time.Since(start))
		}
	}
}

type bigStruct struct {
	A [100]string
	B int
}
