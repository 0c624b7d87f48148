package ei_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// The text of strings as term_to_binary of a real node writes them.
func TestCharlist(t *testing.T) {
	for _, tt := range []struct {
		erlang, encoded, want string
	}{
		{`"abc"`, "\x83k\x00\x03abc", "abc"},
		{`"hé"`, "\x83k\x00\x02h\xe9", "hé"},
		{`"1€"`, "\x83l\x00\x00\x00\x02a1b\x00\x00\x20\xacj", "1€"},
		{`""`, "\x83j", ""},
	} {
		term := decode(t, []byte(tt.encoded))
		text, ok := ei.Charlist(term)
		require.True(t, ok, tt.erlang)
		require.Equal(t, tt.want, text, tt.erlang)
	}
	for _, term := range []ei.Term{
		ei.Binary("abc"), ei.Atom("abc"), ei.List{ei.Int('a'), ei.Binary("b")}, ei.List{ei.Int(-1)}, ei.List{ei.Int(0x110000)},
		ei.List{ei.Int(0xd800)}, ei.List{ei.Int(1 << 40)}, ei.List{ei.List{ei.Int('a')}},
		ei.ImproperList{Elems: []ei.Term{ei.Int('a')}, Tail: ei.Int('b')}, nil,
	} {
		_, ok := ei.Charlist(term)
		require.False(t, ok, "%v", term)
	}
	text, ok := ei.Charlist(ei.Raw("k\x00\x01a"))
	require.True(t, ok, "a Raw is decoded for it")
	require.Equal(t, "a", text)
}

func ExampleCharlist() {
	release := ei.String("27") // of erlang:system_info(otp_release), say
	fmt.Println(ei.Charlist(release))
	fmt.Println(ei.Charlist(ei.Binary("27")))
	// Output:
	// 27 true
	//  false
}
