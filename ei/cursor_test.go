package ei_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// cursorMethods are the methods of a Cursor that read something, by name, with the kinds of tags
// that they take.
var cursorMethods = map[string]struct {
	read  func(c *ei.Cursor) error
	takes func(tag ei.Tag) bool
}{
	"Int":   {func(c *ei.Cursor) error { _, err := c.Int(); return err }, ei.Tag.IsInteger},
	"Uint":  {func(c *ei.Cursor) error { _, err := c.Uint(); return err }, ei.Tag.IsInteger},
	"Big":   {func(c *ei.Cursor) error { _, err := c.Big(); return err }, ei.Tag.IsInteger},
	"Float": {func(c *ei.Cursor) error { _, err := c.Float(); return err }, ei.Tag.IsFloat},
	"Bool":  {func(c *ei.Cursor) error { _, err := c.Bool(); return err }, ei.Tag.IsAtom},
	"Atom":  {func(c *ei.Cursor) error { _, err := c.Atom(); return err }, ei.Tag.IsAtom},
	"Tuple": {func(c *ei.Cursor) error { _, err := c.Tuple(); return err }, ei.Tag.IsTuple},
	"List": {func(c *ei.Cursor) error { _, err := c.List(); return err },
		func(t ei.Tag) bool { return t.IsList() && t != ei.TagStringExt }},
	"Nil":       {func(c *ei.Cursor) error { return c.Nil() }, func(t ei.Tag) bool { return t == ei.TagNilExt }},
	"Map":       {func(c *ei.Cursor) error { _, err := c.Map(); return err }, func(t ei.Tag) bool { return t == ei.TagMapExt }},
	"Binary":    {func(c *ei.Cursor) error { _, err := c.Binary(); return err }, ei.Tag.IsBinary},
	"Bitstring": {func(c *ei.Cursor) error { _, _, err := c.Bitstring(); return err }, ei.Tag.IsBinary},
	"Str":       {func(c *ei.Cursor) error { _, err := c.Str(); return err }, ei.Tag.IsList},
	"Iodata": {func(c *ei.Cursor) error { _, err := c.AppendIodata(nil); return err },
		func(t ei.Tag) bool { return t.IsList() || t.IsBinary() }},
	"Pid":    {func(c *ei.Cursor) error { _, err := c.Pid(); return err }, ei.Tag.IsPid},
	"Port":   {func(c *ei.Cursor) error { _, err := c.Port(); return err }, ei.Tag.IsPort},
	"Ref":    {func(c *ei.Cursor) error { _, err := c.Ref(); return err }, ei.Tag.IsRef},
	"Export": {func(c *ei.Cursor) error { _, err := c.Export(); return err }, func(t ei.Tag) bool { return t == ei.TagExportExt }},
	"Fun": {func(c *ei.Cursor) error { _, err := c.Fun(); return err },
		func(t ei.Tag) bool { return t.IsFun() && t != ei.TagExportExt }},
	"Record": {func(c *ei.Cursor) error { _, err := c.Record(); return err }, func(t ei.Tag) bool { return t == ei.TagRecordExt }},
	"Term":   {func(c *ei.Cursor) error { _, err := c.Term(); return err }, func(ei.Tag) bool { return true }},
	"Skip":   {func(c *ei.Cursor) error { return c.Skip() }, func(ei.Tag) bool { return true }},
	"Raw":    {func(c *ei.Cursor) error { _, err := c.Raw(); return err }, func(ei.Tag) bool { return true }},
}

// checkCursor makes every method read data, which may be any bytes, and checks what all methods
// promise.
func checkCursor(t *testing.T, data []byte) {
	t.Helper()
	for name, m := range cursorMethods {
		for _, atoms := range []*ei.AtomTable{nil, ei.NewAtomTable(2)} {
			c := ei.NewCursor(data)
			c.Atoms = atoms
			err := m.read(&c)
			require.True(t, c.Offset() >= 0 && c.Offset()+c.Len() == len(data), name)
			if err == nil {
				require.Positive(t, c.Offset(), name)
				require.True(t, m.takes(ei.Tag(data[0])), "%s of %v", name, ei.Tag(data[0]))
				continue
			}
			require.Zero(t, c.Offset(), "%s: a failed call does not move", name)
			var syntax *ei.SyntaxError
			require.ErrorAs(t, err, &syntax, name)
			require.True(t, syntax.Offset >= 0 && syntax.Offset <= len(data), "%s: %v", name, err)
			if len(data) > 0 && !m.takes(ei.Tag(data[0])) {
				require.NotErrorIs(t, err, ei.ErrRange, name)
			}
		}
	}
}

func TestCursorMethods(t *testing.T) {
	vs, _ := readVectors(t)
	for _, v := range vs {
		checkCursor(t, v.data[1:])
	}
	for _, tc := range tagCases {
		checkCursor(t, []byte(tc.bytes))
		c := ei.NewCursor([]byte(tc.bytes))
		for name, m := range cursorMethods {
			at := c
			if err := m.read(&at); err != nil && !m.takes(tc.tag) {
				require.ErrorIs(t, err, ei.ErrType, "%s of %v", name, tc.tag)
				var typ *ei.TypeError
				require.ErrorAs(t, err, &typ)
				require.NotEmpty(t, typ.Want)
			}
		}
	}
	for _, tc := range malformed {
		checkCursor(t, []byte(tc.data))
		if len(tc.data) > 0 {
			checkCursor(t, []byte(tc.data[1:]))
		}
	}
}

func TestCursorWalk(t *testing.T) {
	data, err := ei.Marshal(ei.Tuple{
		ei.Atom("true"), ei.List{ei.Int(1), ei.Int(2)}, ei.List{}, ei.Map{{Key: ei.Atom("k"), Value: ei.Float(2.5)}},
		ei.Binary("bin"), ei.Bitstring{Data: []byte{0xa0}, Bits: 3}, ei.String("str"), ei.Int(7),
	})
	require.NoError(t, err)
	c := ei.NewCursor(data)
	require.NoError(t, c.Version())
	arity, err := c.Tuple()
	require.NoError(t, err)
	require.Equal(t, 8, arity)
	truth, err := c.Bool()
	require.NoError(t, err)
	require.True(t, truth)
	n, err := c.List()
	require.NoError(t, err)
	require.Equal(t, 2, n)
	for want := range 2 {
		v, err := c.Int()
		require.NoError(t, err)
		require.Equal(t, int64(want+1), v)
	}
	require.NoError(t, c.Nil())
	n, err = c.List()
	require.NoError(t, err)
	require.Zero(t, n)
	n, err = c.Map()
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.False(t, c.AtomIs("kk"))
	require.True(t, c.AtomIs("k"))
	f, err := c.Float()
	require.NoError(t, err)
	require.Equal(t, 2.5, f)
	bin, err := c.Binary()
	require.NoError(t, err)
	require.Equal(t, "bin", string(bin))
	require.Equal(t, 3, cap(bin), "an append does not reach the input")
	_, err = c.Binary()
	require.ErrorIs(t, err, ei.ErrType)
	bin, bits, err := c.Bitstring()
	require.NoError(t, err)
	require.Equal(t, []byte{0xa0}, bin)
	require.Equal(t, uint8(3), bits)
	raw, err := c.Raw()
	require.NoError(t, err)
	require.Equal(t, "\"str\"", raw.String())
	tag, err := c.Peek()
	require.NoError(t, err)
	require.Equal(t, ei.TagSmallIntegerExt, tag)
	require.Equal(t, 2, len(c.Rest()))
	require.NoError(t, c.Skip())
	require.Zero(t, c.Len())
	_, err = c.Peek()
	require.ErrorIs(t, err, ei.ErrTruncated)
	require.Equal(t, len(data), c.Offset())
}

// What is as long as its head says, and no longer, is whole.
func TestCursorReadsToTheEnd(t *testing.T) {
	ok := func(c *ei.Cursor) (int, error) {
		if !c.AtomIs("ok") {
			return 0, ei.ErrType
		}
		return 0, nil
	}
	for _, tt := range []struct {
		data string
		read func(c *ei.Cursor) (int, error)
		rest int
	}{
		{"w\x02ok", ok, 0},
		{"s\x02ok", ok, 0},
		{"d\x00\x02ok", ok, 0},
		{"v\x00\x02ok", ok, 0},
		{"t\x00\x00\x00\x01jj", (*ei.Cursor).Map, 2},
		{"i\x00\x00\x00\x02jj", (*ei.Cursor).Tuple, 2},
		{"h\x02jj", (*ei.Cursor).Tuple, 2},
	} {
		c := ei.NewCursor([]byte(tt.data))
		_, err := tt.read(&c)
		require.NoError(t, err, "%q", tt.data)
		require.Equal(t, tt.rest, c.Len(), "%q", tt.data)
	}
}

func TestCursorStr(t *testing.T) {
	for _, tc := range []struct{ data, want string }{
		{"j", ""},
		{"k\x00\x03abc", "abc"},
		{"l\x00\x00\x00\x02aab\x00\x00\x00\x62j", "ab"},
		{"l\x00\x00\x00\x01n\x01\x00aj", "a"},
		{"l\x00\x00\x00\x01aal\x00\x00\x00\x01aak\x00\x02bc", "aabc"},
		{"l\x00\x00\x00\x00k\x00\x02bc", "bc"},
		{"l\x00\x00\x00\x02l\x00\x00\x00\x00aal\x00\x00\x00\x00l\x00\x00\x00\x00abl\x00\x00\x00\x00j", "ab"},
	} {
		c := ei.NewCursor([]byte(tc.data))
		got, err := c.Str()
		require.NoError(t, err)
		require.Equal(t, tc.want, string(got))
		require.Zero(t, c.Len())
	}
	for _, data := range []string{
		"l\x00\x00\x00\x01b\x00\x00\x01\x00j", "l\x00\x00\x00\x01b\xff\xff\xff\xffj", "l\x00\x00\x00\x01w\x01aj",
		"l\x00\x00\x00\x01aaaa", "m\x00\x00\x00\x01a", "w\x01a",
		"l\x00\x00\x00\x00aa", "l\x00\x00\x00\x01l\x00\x00\x00\x00jj",
	} {
		c := ei.NewCursor([]byte(data))
		_, err := c.Str()
		require.ErrorIs(t, err, ei.ErrType, "%q", data)
	}
	long := strings.Repeat("x", 65536)
	c := ei.NewCursor(ei.AppendString(nil, long))
	got, err := c.Str()
	require.NoError(t, err)
	require.Equal(t, long, string(got))
}

func TestIodata(t *testing.T) {
	iodata := ei.List{
		ei.Int(104), ei.Binary("el"), ei.List{}, ei.List{ei.List{ei.Int(108)}, ei.String("o,")}, ei.Binary{},
		ei.ImproperList{Elems: []ei.Term{ei.Int(32)}, Tail: ei.Binary("wor")},
		ei.ImproperList{Elems: []ei.Term{ei.Int(108), ei.ImproperList{Elems: []ei.Term{ei.List{}}, Tail: ei.Binary("d")}}, Tail: ei.Binary("!")},
	}
	for _, tail := range []ei.Term{ei.List{}, ei.Binary("?"), ei.List{ei.Int('?')}, ei.List{ei.Binary("?"), ei.List{}}} {
		data := appended(t, ei.ImproperList{Elems: iodata, Tail: tail})
		c := ei.NewCursor(append(data, "rest"...))
		got, err := c.AppendIodata([]byte("> "))
		require.NoError(t, err)
		require.Equal(t, "> hello, world!", strings.TrimSuffix(string(got), "?"))
		require.Equal(t, "rest", string(c.Rest()))
	}
	for data, want := range map[string]string{ // a LIST_EXT without elements stands for its tail
		"l\x00\x00\x00\x02l\x00\x00\x00\x00aal\x00\x00\x00\x00m\x00\x00\x00\x01bl\x00\x00\x00\x00j":                  "ab",
		"l\x00\x00\x00\x00l\x00\x00\x00\x01l\x00\x00\x00\x00l\x00\x00\x00\x01aajl\x00\x00\x00\x00m\x00\x00\x00\x01b": "ab",
		"l\x00\x00\x00\x00m\x00\x00\x00\x01b": "b",
	} {
		c := ei.NewCursor([]byte(data))
		got, err := c.AppendIodata(nil)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
		require.Zero(t, c.Len())
	}
	for _, bad := range []ei.Term{
		ei.Int(1), ei.Atom("a"), ei.List{ei.Int(256)}, ei.List{ei.Int(-1)}, ei.List{ei.Atom("a")},
		ei.ImproperList{Elems: []ei.Term{ei.Int(1)}, Tail: ei.Int(2)}, ei.List{ei.Bitstring{Data: []byte{0}, Bits: 1}},
	} {
		data := appended(t, bad)
		c := ei.NewCursor(data)
		got, err := c.AppendIodata([]byte("kept"))
		require.ErrorIs(t, err, ei.ErrType, "%v", bad)
		require.Equal(t, "kept", string(got))
		require.Zero(t, c.Offset())
	}
}

// The error names the element that is not a byte, and its place.
func TestElementThatIsNoByteIsNamed(t *testing.T) {
	data := []byte("l\x00\x00\x00\x02a\x01b\x00\x00\x01\x00j")
	for _, read := range []func(c *ei.Cursor) error{
		func(c *ei.Cursor) error { _, err := c.Str(); return err },
		func(c *ei.Cursor) error { _, err := c.AppendIodata(nil); return err },
	} {
		c := ei.NewCursor(data)
		err := read(&c)
		var at *ei.SyntaxError
		require.ErrorAs(t, err, &at)
		require.Equal(t, 7, at.Offset)
		var wrong *ei.TypeError
		require.ErrorAs(t, err, &wrong)
		require.Equal(t, ei.TypeError{Want: "byte", Got: ei.TagIntegerExt}, *wrong)
	}
}

// The AtomTable of DecodeOptions serves the calls that are given these options.
func TestAtomTableOfOptions(t *testing.T) {
	o := ei.DecodeOptions{Atoms: ei.NewAtomTable(10)}
	_, err := o.Decode([]byte("\x83w\x01a"))
	require.NoError(t, err)
	require.Equal(t, 1, o.Atoms.Len())
	_, err = o.Decode(ei.Raw("w\x01b"))
	require.NoError(t, err)
	require.Equal(t, 2, o.Atoms.Len())
	var a ei.Atom
	require.NoError(t, o.Unmarshal(ei.Raw("w\x01c"), &a))
	require.Equal(t, 3, o.Atoms.Len())
	c := ei.NewCursor([]byte("w\x01zw\x01yw\x01z")) // has its own
	c.Atoms = ei.NewAtomTable(100)
	for range 3 {
		require.NoError(t, c.Unmarshal(&a))
	}
	require.Equal(t, 2, c.Atoms.Len())
	require.Equal(t, 3, o.Atoms.Len())
}

func TestAtomTable(t *testing.T) {
	table := ei.NewAtomTable(100)
	data := func(i int) []byte {
		b, err := ei.AppendAtom(nil, ei.Atom(strings.Repeat("x", i%250)+"é"))
		require.NoError(t, err)
		return b
	}
	for i := range 1000 {
		c := ei.NewCursor(data(i))
		c.Atoms = table
		a, err := c.Atom()
		require.NoError(t, err)
		require.Equal(t, ei.Atom(strings.Repeat("x", i%250)+"é"), a)
		require.LessOrEqual(t, table.Len(), 100)
	}
	b := data(7)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		c := ei.NewCursor(b)
		c.Atoms = table
		_, _ = c.Atom()
	}))
	// Latin-1 and UTF-8 are the same atom.
	c := ei.NewCursor([]byte("d\x00\x01\xe9s\x01\xe9w\x02\xc3\xa9v\x00\x02\xc3\xa9"))
	c.Atoms = ei.NewAtomTable(0)
	for range 4 {
		require.True(t, func() bool { at := c; return at.AtomIs("é") }())
		require.False(t, c.AtomIs("éé"))
		require.False(t, c.AtomIs(""))
		a, err := c.Atom()
		require.NoError(t, err)
		require.Equal(t, ei.Atom("é"), a)
	}
	require.Equal(t, 1, c.Atoms.Len())
}
