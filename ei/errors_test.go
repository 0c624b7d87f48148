package ei_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// malformed terms, each with what is wrong with it. They seed the fuzz targets too.
var malformed = []struct {
	name   string
	data   string
	offset int
	path   string
	err    error
}{
	{"nothing", "", 0, "", ei.ErrTruncated},
	{"version only", "\x83", 1, "", ei.ErrTruncated},
	{"no version", "a\x01", 0, "", ei.ErrVersion},
	{"another version", "\x82a\x01", 0, "", ei.ErrVersion},
	{"two versions", "\x83\x83a\x01", 1, "", ei.ErrTag},
	{"tag 0", "\x83\x00", 1, "", ei.ErrTag},
	{"distribution header", "\x83D\x00", 1, "", ei.ErrTag},
	{"trailing byte", "\x83a\x01\x00", 3, "", ei.ErrTrailing},
	{"trailing term", "\x83ja\x01", 2, "", ei.ErrTrailing},
	{"tuple of 4 G", "\x83i\xff\xff\xff\xff", 1, "", ei.ErrTruncated},
	{"tuple of 255 in 10 bytes", "\x83h\xffaaaaaaaaaa", 1, "", ei.ErrTruncated},
	{"list of 4 G", "\x83l\xff\xff\xff\xffj", 1, "", ei.ErrTruncated},
	{"list without tail", "\x83l\x00\x00\x00\x01j", 1, "", ei.ErrTruncated},
	{"map of 4 G", "\x83t\xff\xff\xff\xffjj", 1, "", ei.ErrTruncated},
	{"map of 2 G", "\x83t\x80\x00\x00\x00jj", 1, "", ei.ErrTruncated},
	{"map without a value", "\x83t\x00\x00\x00\x01j", 1, "", ei.ErrTruncated},
	{"binary of 4 G", "\x83m\xff\xff\xff\xffabc", 1, "", ei.ErrTruncated},
	{"string of 64 K", "\x83k\xff\xffabc", 1, "", ei.ErrTruncated},
	{"bignum of 4 G", "\x83o\xff\xff\xff\xff\x00abc", 1, "", ei.ErrTruncated},
	{"fun of 4 G values", "\x83p\x00\x00\x00\x40" + strings.Repeat("\x00", 21) + "\xff\xff\xff\xffw\x01m", 1, "", ei.ErrTruncated},
	{"fun of no module", "\x83p\x00\x00\x00\x00" + strings.Repeat("\x00", 60), 31, "", ei.ErrTag},
	{"record of 4 G", "\x83C\xff\xff\xff\xff\x00w\x00w\x00", 1, "", ei.ErrTruncated},
	{"old fun of 4 G", "\x83u\xff\xff\xff\xffX" + nodeAtom, 1, "", ei.ErrTruncated},
	{"old fun without a pid", "\x83u\x00\x00\x00\x00", 6, "", ei.ErrTruncated},
	{"old fun of nobody", "\x83u\x00\x00\x00\x00" + nodeAtom + "w\x01ma\x01a\x01", 6, "", ei.ErrType},
	{"in a tuple", "\x83h\x03a\x01h\x02a\x01\x00a\x01", 9, "/1/1", ei.ErrTag},
	{"in a list", "\x83l\x00\x00\x00\x02a\x01h\x01\x00j", 10, "/1/0", ei.ErrTag},
	{"in a tail", "\x83l\x00\x00\x00\x01a\x01l\x00\x00\x00\x01\x00j", 13, "/1", ei.ErrTag},
	{"in a key", "\x83t\x00\x00\x00\x01\x00j", 6, "/0", ei.ErrTag},
	{"in a value", "\x83t\x00\x00\x00\x01j\x00", 7, "/1", ei.ErrTag},
	{"in a record", "\x83C\x00\x00\x00\x01\x01w\x01mw\x01rw\x01a\x00", 16, "/0", ei.ErrTag},
	{"infinity", "\x83F\x7f\xf0\x00\x00\x00\x00\x00\x00", 1, "", ei.ErrFloat},
	{"minus infinity", "\x83F\xff\xf0\x00\x00\x00\x00\x00\x00", 1, "", ei.ErrFloat},
	{"NaN", "\x83F\x7f\xf8\x00\x00\x00\x00\x00\x00", 1, "", ei.ErrFloat},
	{"old float: inf", "\x83cinf" + strings.Repeat("\x00", 28), 1, "", ei.ErrFloat},
	{"old float: hexadecimal", "\x83c0x1p4" + strings.Repeat("\x00", 26), 1, "", ei.ErrFloat},
	{"old float: empty", "\x83c" + strings.Repeat("\x00", 31), 1, "", ei.ErrFloat},
	{"old float: too large", "\x83c1e999" + strings.Repeat("\x00", 26), 1, "", ei.ErrFloat},
	{"atom not UTF-8", "\x83w\x01\xff", 1, "", ei.ErrAtom},
	{"atom with a surrogate", "\x83w\x03\xed\xa0\x80", 1, "", ei.ErrAtom},
	{"atom overlong", "\x83w\x02\xc0\x80", 1, "", ei.ErrAtom},
	{"atom of 256 characters", "\x83v\x01\x00" + strings.Repeat("x", 256), 1, "", ei.ErrAtom},
	{"atom of 256 Latin-1 characters", "\x83d\x01\x00" + strings.Repeat("x", 256), 1, "", ei.ErrAtom},
	{"atom of 64 K", "\x83v\xff\xff" + strings.Repeat("x", 65535), 1, "", ei.ErrAtom},
	{"bitstring of 9 bits", "\x83M\x00\x00\x00\x01\x09\x00", 1, "", ei.ErrMalformed},
	{"bitstring of 0 bits", "\x83M\x00\x00\x00\x01\x00\x00", 1, "", ei.ErrMalformed},
	{"bitstring of 3 bits in no byte", "\x83M\x00\x00\x00\x00\x03", 1, "", ei.ErrMalformed},
	{"reference of 0 words", "\x83Z\x00\x00" + nodeAtom + "\x00\x00\x00\x01", 1, "", ei.ErrMalformed},
	{"reference of 6 words", "\x83Z\x00\x06" + nodeAtom + strings.Repeat("\x00", 28), 1, "", ei.ErrMalformed},
	{"pid of a number", "\x83Xa\x01" + strings.Repeat("\x00", 12), 2, "", ei.ErrType},
	{"pid of another version", "\x83h\x01X\x83" + nodeAtom + strings.Repeat("\x00", 12), 4, "/0", ei.ErrTag},
	{"external fun with a large arity", "\x83qw\x01mw\x01fb\x00\x00\x00\x01", 8, "", ei.ErrMalformed},
	{"record with a field that is no atom", "\x83C\x00\x00\x00\x01\x01w\x01mw\x01ra\x01jj", 13, "", ei.ErrType},
	{"record with a flag that nobody knows", "\x83C\x00\x00\x00\x00\x02w\x01mw\x01r", 1, "", ei.ErrMalformed},
	{"cache reference", "\x83R\x00", 1, "", ei.ErrAtomCache},
	{"compressed in a tuple", "\x83h\x01P\x00\x00\x00\x01", 3, "/0", ei.ErrCompressed},
	{"compressed garbage", "\x83P\x00\x00\x00\x01xyz", 1, "", ei.ErrCompressed},
	{"local in a tuple", "\x83h\x01ya", 3, "/0", ei.ErrLocal},
	{"bad tail", "\x83l\x00\x00\x00\x02a\x01a\x02\xc8", 10, "/2", ei.ErrTag},
	{"in a tuple as tail", "\x83l\x00\x00\x00\x01a\x01h\x02a\x01\xc8", 12, "/1/1", ei.ErrTag},
	{"deep in a tuple as tail", "\x83h\x02a\x01l\x00\x00\x00\x01a\x01h\x01h\x01\xc8", 16, "/1/1/0/0", ei.ErrTag},
	{"in a list as tail", "\x83l\x00\x00\x00\x01a\x01l\x00\x00\x00\x01\xc8j", 13, "/1", ei.ErrTag},
}

func TestDecodeRefusesMalformed(t *testing.T) {
	for _, tc := range malformed {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ei.Decode([]byte(tc.data))
			require.ErrorIs(t, err, tc.err)
			require.Nil(t, got)
			var syntax *ei.SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.Equal(t, tc.offset, syntax.Offset, "%v", err)
			require.Equal(t, tc.path, syntax.Path)
			require.Equal(t, tc.err == ei.ErrTruncated, errors.Is(err, io.ErrUnexpectedEOF))

			c := ei.NewCursor([]byte(tc.data))
			if c.Version() != nil || tc.err == ei.ErrTrailing {
				return
			}
			if tag, _ := c.Peek(); tag == ei.TagCompressed {
				return
			}
			require.ErrorIs(t, c.Skip(), tc.err)
			require.Equal(t, 1, c.Offset(), "a failed call does not move")
		})
	}
}

// unchecked encodes t with whatever keys its maps have.
func unchecked(t ei.Term) ei.Raw {
	b, err := ei.AppendTerm(nil, open(t))
	if err != nil {
		panic(err)
	}
	return b
}

// open gives t with its maps and records as Raw, whose contents are not checked when they are
// encoded.
func open(t ei.Term) ei.Term {
	each := func(ts []ei.Term) (out []ei.Term) {
		for _, t := range ts {
			out = append(out, open(t))
		}
		return out
	}
	switch t := t.(type) {
	case ei.Tuple:
		return ei.Tuple(each(t))
	case ei.List:
		return ei.List(each(t))
	case ei.ImproperList:
		return ei.ImproperList{Elems: each(t.Elems), Tail: open(t.Tail)}
	case ei.Fun:
		t.Free = each(t.Free)
		return t
	case ei.Map:
		b := ei.AppendMapHeader(nil, len(t))
		for _, p := range t {
			b = append(append(b, unchecked(p.Key)...), unchecked(p.Value)...)
		}
		return ei.Raw(b)
	case ei.Record:
		b := binary.BigEndian.AppendUint32([]byte{byte(ei.TagRecordExt)}, uint32(len(t.Fields)))
		flags := byte(0)
		if t.Exported {
			flags = 1
		}
		b = append(b, flags)
		for _, name := range append([]ei.Atom{t.Module, t.Name}, names(t.Fields)...) {
			b = append(b, unchecked(name)...)
		}
		for _, f := range t.Fields {
			b = append(b, unchecked(f.Value)...)
		}
		return ei.Raw(b)
	}
	return t
}

func names(fields []ei.Field) (list []ei.Atom) {
	for _, f := range fields {
		list = append(list, f.Name)
	}
	return list
}

// A runtime system ends the connection over which a map with duplicate keys comes: so such maps are
// neither decoded nor encoded.
func TestDuplicateKeysAreRefused(t *testing.T) {
	key := func(i int) ei.Term { return ei.Int(i * 1000) }
	wide := func(n int, keys func(int) ei.Term, last ei.Term) ei.Map {
		m := make(ei.Map, n)
		for i := range m {
			m[i] = ei.Pair{Key: keys(i), Value: ei.Int(i)}
		}
		return append(m, ei.Pair{Key: last, Value: ei.Int(-1)})
	}
	tuple := func(i int) ei.Term { return ei.Tuple{ei.Int(i), ei.Map{{Key: ei.Int(1), Value: ei.Int(i)}}} }
	kinds := []ei.Term{ei.Int(1), ei.Float(1), ei.Atom("1"), ei.Binary("1"), ei.String("1"), ei.Float(0), ei.Float(0), ei.Tuple{},
		ei.List{}, ei.Map{}, benchPid, benchRef}
	kinds[6] = negativeZero
	twice := ei.Map{{Key: ei.Int(1), Value: ei.Int(1)}, {Key: ei.Int(1), Value: ei.Int(2)}}
	under := func(key ei.Term) ei.Map { return ei.Map{{Key: key, Value: ei.Int(1)}} }
	for name, tc := range map[string]struct {
		term      ei.Term
		duplicate bool
	}{
		"in a key":             {under(twice), true},
		"in a key of a key":    {under(under(twice)), true},
		"in a value in a key":  {under(ei.Map{{Key: ei.Int(1), Value: twice}}), true},
		"in a tuple in a key":  {under(ei.Tuple{ei.Int(1), twice}), true},
		"in a tail in a key":   {under(ei.ImproperList{Elems: []ei.Term{ei.Int(1)}, Tail: twice}), true},
		"in a fun in a key":    {under(ei.Fun{Module: "m", Pid: benchPid, Free: []ei.Term{ei.List{twice}}}), true},
		"in a record in a key": {under(ei.Record{Module: "m", Name: "r", Fields: []ei.Field{{Name: "f", Value: twice}}}), true},
		"in keys, none":        {under(under(ei.Tuple{under(ei.Int(1)), under(ei.Int(1))})), false},
		"integers":             {ei.Map{{Key: ei.Int(1), Value: ei.Int(1)}, {Key: ei.Int(1), Value: ei.Int(2)}}, true},
		"atoms": {ei.Map{{Key: ei.Atom("a"), Value: ei.Int(1)}, {Key: ei.Atom("b"), Value: ei.Int(1)},
			{Key: ei.Atom("a"), Value: ei.Int(2)}}, true},
		"of several types":    {wide(len(kinds), func(i int) ei.Term { return kinds[i] }, ei.Atom("x")), false},
		"of several types, =": {wide(len(kinds), func(i int) ei.Term { return kinds[i] }, ei.Float(1)), true},
		"many":                {wide(500, key, key(500)), false},
		"many, =":             {wide(500, key, key(250)), true},
		"many binaries":       {wide(500, func(i int) ei.Term { return ei.Binary(key(i).String()) }, ei.Binary("x")), false},
		"many binaries, =":    {wide(500, func(i int) ei.Term { return ei.Binary(key(i).String()) }, ei.Binary("1000")), true},
		"many tuples":         {wide(100, tuple, tuple(100)), false},
		"many tuples, =":      {wide(100, tuple, tuple(7)), true},
		"String and List":     {ei.Map{{Key: ei.String("\x01"), Value: ei.Int(1)}, {Key: ei.List{ei.Int(1)}, Value: ei.Int(2)}}, true},
		"maps in another order": {ei.Map{
			{Key: ei.Map{{Key: ei.Int(1), Value: ei.Int(1)}, {Key: ei.Int(2), Value: ei.Int(2)}}, Value: ei.Int(1)},
			{Key: ei.Map{{Key: ei.Int(2), Value: ei.Int(2)}, {Key: ei.Int(1), Value: ei.Int(1)}}, Value: ei.Int(2)},
		}, true},
		"record":   {ei.Record{Fields: []ei.Field{{Name: "a", Value: ei.Int(1)}, {Name: "b", Value: ei.Int(1)}}}, false},
		"record =": {ei.Record{Fields: []ei.Field{{Name: "a", Value: ei.Int(1)}, {Name: "a", Value: ei.Int(1)}}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			data := append([]byte{ei.VersionMagic}, unchecked(ei.Tuple{tc.term})...)
			c := ei.NewCursor(data[1:])
			require.NoError(t, c.Skip(), "well-formed all the same")
			made, makeErr := ei.Marshal(ei.Tuple{tc.term})
			got, err := ei.Decode(data)
			if !tc.duplicate {
				require.NoError(t, makeErr)
				require.Equal(t, data, made)
				require.NoError(t, err)
				require.True(t, ei.Identical(ei.Tuple{tc.term}, got))
				return
			}
			require.ErrorIs(t, makeErr, ei.ErrDuplicate)
			require.ErrorIs(t, err, ei.ErrDuplicate)
			var syntax *ei.SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.Equal(t, 3, syntax.Offset)
			// identifiers have a form of their own
			if _, err = ei.Parse(ei.Tuple{tc.term}.String()); !errors.Is(err, ei.ErrText) {
				require.ErrorIs(t, err, ei.ErrDuplicate)
			}
		})
	}
}

func TestDecodeLimits(t *testing.T) {
	limited := func(t *testing.T, err error, name string, max int) {
		t.Helper()
		require.ErrorIs(t, err, ei.ErrLimit)
		var limit *ei.LimitError
		require.ErrorAs(t, err, &limit)
		require.Equal(t, ei.LimitError{Limit: name, Max: max}, *limit)
	}
	var syntax *ei.SyntaxError
	_, err := ei.Decode(append([]byte{ei.VersionMagic}, bytes.Repeat([]byte("h\x01"), 20_000)...))
	require.ErrorAs(t, err, &syntax)
	require.Less(t, len(syntax.Path), 300, "an error is small, too")

	_, err = ei.DecodeOptions{Limits: ei.Limits{Bytes: 3}}.Decode([]byte("\x83k\x00\x01x"))
	limited(t, err, "Bytes", 3)
	_, err = ei.DecodeOptions{Limits: ei.Limits{Bytes: 4}}.Decode([]byte("\x83k\x00\x01x"))
	require.NoError(t, err)
	_, err = ei.DecodeOptions{Limits: ei.Limits{Bytes: 4}}.Decode([]byte("\x83yabcd"))
	limited(t, err, "Bytes", 4)

	for _, table := range []*ei.AtomTable{nil, ei.NewAtomTable(0)} {
		o := ei.DecodeOptions{Limits: ei.Limits{Atoms: 4}, Atoms: table}
		_, err = o.Decode([]byte("\x83h\x05w\x01aw\x01bw\x01aw\x01bw\x02ok"))
		require.NoError(t, err)
		_, err = o.Decode([]byte("\x83h\x06w\x01cw\x01dw\x01ew\x01fw\x02okw\x01g"))
		limited(t, err, "Atoms", 4)
	}
	_, err = ei.DecodeOptions{Limits: ei.Limits{Atoms: -1, Bytes: -1, Decompressed: -1}}.Decode([]byte("\x83h\x01w\x01a"))
	require.NoError(t, err)

	for _, text := range []struct {
		text, limit string
		max         int
	}{
		{"<<1:65>>", "bits of a segment", 64},
		// of text up to there
		{strings.Repeat("1", 65537), "digits of an integer", 65536},
	} {
		_, err = ei.Parse(text.text)
		limited(t, err, text.limit, text.max)
	}
}

// nestedFuns gives n closures, each with the next one as its free variable.
func nestedFuns(n int) []byte {
	t := ei.Term(ei.Int(1))
	f := ei.Fun{Module: "m", Pid: old}
	data, _ := ei.AppendTerm(nil, t)
	shell, _ := ei.AppendTerm(nil, ei.Fun{Module: "m", Pid: old, Free: []ei.Term{f}})
	inner, _ := ei.AppendTerm(nil, f)
	shell = shell[:len(shell)-len(inner)]
	out := make([]byte, 0, n*len(shell)+len(data))
	for i := range n {
		size := len(shell)*(n-i) + len(data) - 1
		at := len(out)
		out = append(out, shell...)
		out[at+1], out[at+2], out[at+3], out[at+4] = byte(size>>24), byte(size>>16), byte(size>>8), byte(size)
	}
	return append(out, data...)
}

// An error of encoding says where in the value it is.
func TestEncodeErrorPath(t *testing.T) {
	deep := ei.Term(nil)
	for range 1000 {
		deep = ei.List{ei.Int(1), deep}
	}
	for _, tt := range []struct {
		value any
		path  string
		err   error // nil: a MappingError
	}{
		{map[string]any{"a": 1, "b": []any{1, make(chan int)}}, "/b/1", nil},
		{map[any]int{make(chan int): 1}, "/key", nil},
		{[]any{1, map[int]any{7: make(chan int)}}, "/1/7", nil},
		{ei.Tuple{ei.Int(1), ei.List{ei.Int(1), nil}}, "/1/1", nil},
		{ei.Map{{Key: ei.Int(1), Value: ei.Int(2)}, {Key: nil, Value: ei.Int(2)}}, "/2", nil},
		{ei.Map{{Key: ei.Int(1), Value: ei.Tuple{nil}}}, "/1/0", nil},
		{ei.ImproperList{Elems: []ei.Term{ei.Int(1)}, Tail: ei.Tuple{nil}}, "/1/0", nil},
		{ei.Record{Module: "m", Name: "r", Fields: []ei.Field{{Name: "f", Value: ei.Atom(strings.Repeat("x", 256))}}}, "/0", ei.ErrAtom},
		{[]ei.Term{ei.Local("x")}, "/0", ei.ErrLocal},
		{deep, "…" + strings.Repeat("/1", 51), nil},
	} {
		_, err := ei.Marshal(tt.value)
		var e *ei.EncodeError
		require.ErrorAs(t, err, &e, "%T", tt.value)
		require.Equal(t, tt.path, e.Path)
		require.Contains(t, err.Error(), " (at "+tt.path+")")
		if tt.err != nil {
			require.ErrorIs(t, err, tt.err)
			continue
		}
		require.ErrorAs(t, err, new(*ei.MappingError))
	}
	_, err := ei.Marshal(make(chan int))
	var e *ei.EncodeError
	require.NotErrorAs(t, err, &e)
}

// What is no term is named, and what to give in its place.
func TestUnsupportedText(t *testing.T) {
	for _, tt := range []struct {
		value any
		says  string
	}{
		{make(chan int), "chan int: a Go value of this type is no term, nor an ei.Marshaler"},
		{ei.Tuple{new(ei.Int)}, "*ei.Int: a Go value of this type is no term, nor an ei.Marshaler"},
		{nil, `nil is no term: give what is to stand for it, as ei.Atom("ok")`},
		{ei.List{ei.Int(1), nil}, "nil is no term"},
	} {
		_, err := ei.Marshal(tt.value)
		require.ErrorContains(t, err, tt.says)
	}
}

// A limit on atoms counts each once, however often they come and in whatever order.
func TestAtomsAreCountedOnce(t *testing.T) {
	cycle := func(atoms, times int) []byte {
		b := ei.AppendListHeader([]byte{ei.VersionMagic}, atoms*times)
		for i := range atoms * times {
			b, _ = ei.AppendAtom(b, ei.Atom(fmt.Sprint("a", i%atoms)))
		}
		return ei.AppendNil(b)
	}
	for _, tt := range []struct {
		atoms, times, limit int
		table               *ei.AtomTable
	}{
		{5, 40, 5, nil},
		{64, 10, 64, nil},
		{70, 10, 70, nil},
		{200, 10, 200, nil},
		{4097, 300, 0, nil}, // more than 1,048,576 in all
		{100, 3, 100, ei.NewAtomTable(100)},
		{4097, 300, 0, ei.NewAtomTable(0)},
		{50, 40, 200, ei.NewAtomTable(10)}, // the atoms of the table may count twice
	} {
		o := ei.DecodeOptions{Limits: ei.Limits{Atoms: tt.limit}, Atoms: tt.table}
		got, err := o.Decode(cycle(tt.atoms, tt.times))
		require.NoError(t, err, "%d atoms", tt.atoms)
		require.Equal(t, ei.Atom(fmt.Sprint("a", tt.atoms-1)), got.(ei.List)[tt.atoms*tt.times-1])
		if tt.limit > 0 && tt.table == nil {
			o.Limits.Atoms--
			_, err = o.Decode(cycle(tt.atoms, tt.times))
			require.ErrorIs(t, err, ei.ErrLimit, "%d atoms", tt.atoms)
		}
	}
}

// Input that ends inside a term is ErrTruncated, and whole input is not, also for methods that ask
// for a type.
func TestCursorTellsTruncation(t *testing.T) {
	boolean := func(c *ei.Cursor) error { _, err := c.Bool(); return err }
	str := func(c *ei.Cursor) error { _, err := c.Str(); return err }
	iodata := func(c *ei.Cursor) error { _, err := c.AppendIodata(nil); return err }
	for _, tt := range []struct {
		data string
		read func(c *ei.Cursor) error
		want error
	}{
		{"w\x04tr", boolean, ei.ErrTruncated},
		{"w\x02\xff\xff", boolean, ei.ErrAtom},
		{"w\x02no", boolean, ei.ErrType},
		{"a\x01", boolean, ei.ErrType},
		{"", boolean, ei.ErrTruncated},
		{"l\x00\x00\x00\x01b\x00\x00", str, ei.ErrTruncated},
		{"l\x00\x00\x00\x01b\x00\x00", iodata, ei.ErrTruncated},
		{"l\x00\x00\x00\x01b\x00\x00\x01\x00j", str, ei.ErrType},
		{"l\x00\x00\x00\x01n\x09\x00" + strings.Repeat("\x01", 9) + "j", str, ei.ErrType},
		{"l\x00\x00\x00\x03jjjj", str, ei.ErrType},
		{"l\xff\xff\xff\xffa\x01", str, ei.ErrTruncated},
	} {
		c := ei.NewCursor([]byte(tt.data))
		require.ErrorIs(t, tt.read(&c), tt.want, "%q", tt.data)
		require.Zero(t, c.Offset())
	}
}
