package target

import (
	"math"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

func typesOf(parameters []any) (types []reflect.Type) {
	for _, p := range parameters {
		types = append(types, reflect.TypeOf(p))
	}
	return types
}

// Each seed is read as what it was, from a file of go test, and as an input.
func TestSeeds(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		want       []any
		input      string
	}{
		{"bytes", "[]byte(\"a\\x00\\n\")", []any{[]byte("a\x00\n")}, "a\x00\n"},
		{"text", "string(\"a)(\")", []any{"a)("}, "a)("},
		{"two texts", "string(\"ab\")\nstring(\"c\")", []any{"ab", "c"}, "\x00\x02abc"},
		{"bytes and numbers", "[]byte(\"a\")\nbyte('\\xff')\nuint64(258)", []any{[]byte("a"), byte(255), uint64(258)},
			"\x00\x01a\xff\x00\x00\x00\x00\x00\x00\x01\x02"},
		{"negative", "int(-2)\nint8(-1)", []any{-2, int8(-1)}, "\xff\xff\xff\xff\xff\xff\xff\xfe\xff"},
		{"yes and no", "bool(true)\nbool(false)\nuint16(7)", []any{true, false, uint16(7)}, "\x01\x00\x00\x07"},
		{"quoted", "byte('\\'')\nuint8(3)", []any{byte('\''), byte(3)}, "'\x03"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parse("go test fuzz v1\n"+tt.file+"\n", typesOf(tt.want))
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
			require.Equal(t, tt.input, string(input(got)))
			require.Equal(t, tt.want, values([]byte(tt.input), typesOf(tt.want)))
		})
	}
}

// Any bytes are an input: what is missing is nothing.
func TestShortInput(t *testing.T) {
	want := []any{[]byte("a"), "", uint16(0), true}
	for _, in := range []string{"\xff\xffa", "\x00\x01a", "\x00\x01a\x00\x00\x00\x00"} {
		require.Equal(t, want[:3], values([]byte(in), typesOf(want[:3])), "%q", in)
	}
	require.Equal(t, []any{false}, values(nil, typesOf(want[3:])))
	require.Equal(t, []any{int16(math.MinInt16)}, values([]byte{0x80}, []reflect.Type{reflect.TypeFor[int16]()}))
}

func TestNoSeed(t *testing.T) {
	for _, file := range []string{"", "go test fuzz v1\n", "go test fuzz v2\nint(1)\n", "go test fuzz v1\nint(1)\nint(2)\n",
		"go test fuzz v1\nint(a)\n", "go test fuzz v1\nint\n"} {
		_, err := parse(file, []reflect.Type{reflect.TypeFor[int]()})
		require.Error(t, err, "%q", file)
	}
}
