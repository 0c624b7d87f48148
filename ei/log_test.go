package ei_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// A term that consists of bytes is Erlang text in a log, as elsewhere, and is truncated.
func TestLogValue(t *testing.T) {
	raw := appended(t, ei.Tuple{ei.Atom("ok"), ei.Binary("hi")})
	large := ei.AppendBinary(nil, make([]byte, 100_000))
	long := strings.Repeat("é", 600)
	for _, tc := range []struct {
		term ei.Term
		want string
	}{
		{ei.Binary("hi"), `<<"hi">>`},
		{ei.Binary{0, 255}, `<<0,255>>`},
		{ei.String("hi"), `"hi"`},
		{ei.String("\x00\xff"), `[0,255]`},
		{ei.Raw(raw), `{ok,<<"hi">>}`},
		{ei.Raw{255}, `#Raw<1 bytes>`},
		{ei.Local{1, 2}, `#Local<2 bytes>`},
		{ei.Binary(strings.Repeat("x", 1018)), `<<"` + strings.Repeat("x", 1018) + `">>`},
		{ei.Binary(long), `<<"` + long[:1020] + `…`},
		{ei.Binary("x" + long), `<<"x` + long[:1020] + `…`},
		{ei.Binary(strings.Repeat("\xff", 2000)), `<<` + strings.Repeat("255,", 300)[:1022] + `…`},
		{ei.String(strings.Repeat("x", 2000)), `"` + strings.Repeat("x", 1023) + `…`},
		{ei.Raw(large), `#Raw<100005 bytes>`},
		{ei.Pid{Node: "a@b", ID: 1, Serial: 2, Creation: 3}, `#Pid<a@b.1.2.3>`},
		{ei.Port{Node: "a@b", ID: 7, Creation: 1}, `#Port<a@b.7.1>`},
		{ei.Ref{Node: "a@b", Creation: 4, Len: 3, ID: [5]uint32{1, 2, 3}}, `#Ref<a@b.3.2.1.4>`},
		{ei.Export{Module: "lists", Function: "map", Arity: 2}, `fun lists:map/2`},
	} {
		var b bytes.Buffer
		slog.New(slog.NewTextHandler(&b, nil)).Info("", "term", tc.term)
		_, got, _ := strings.Cut(strings.TrimSpace(b.String()), "term=")
		if got[0] == '"' {
			var err error
			got, err = strconv.Unquote(got)
			require.NoError(t, err)
		}
		require.Equal(t, tc.want, got)

		b.Reset()
		slog.New(slog.NewJSONHandler(&b, nil)).Info("", "term", tc.term)
		var line struct{ Term string }
		require.NoError(t, json.Unmarshal(b.Bytes(), &line))
		require.Equal(t, tc.want, line.Term)
	}
}

// An identifier has the same text in JSON, where it may be a key, too, and comes back from there.
func TestIdentifiersAsText(t *testing.T) {
	type line struct {
		From ei.Pid
		Ref  *ei.Ref
		On   []ei.Port
		By   map[ei.Pid]int
	}
	pid := ei.Pid{Node: "a-1@b", ID: 1, Serial: 2, Creation: 3}
	ref := ei.Ref{Node: "a@b", Creation: 4, Len: 3, ID: [5]uint32{1, 2, 3}}
	in := line{pid, &ref, []ei.Port{{Node: "a@b", ID: 7, Creation: 1}}, map[ei.Pid]int{pid: 5}}
	b, err := json.Marshal(in)
	require.NoError(t, err)
	var texts struct {
		From, Ref string
		On        []string
		By        map[string]int
	}
	require.NoError(t, json.Unmarshal(b, &texts))
	require.Equal(t, pid.String(), texts.From)
	require.Equal(t, in.Ref.String(), texts.Ref)
	require.Equal(t, []string{in.On[0].String()}, texts.On)
	require.Equal(t, map[string]int{pid.String(): 5}, texts.By)
	var out line
	require.NoError(t, json.Unmarshal(b, &out))
	require.Equal(t, in, out)

	require.ErrorIs(t, out.From.UnmarshalText([]byte("#Ref<a@b.1.2.3>")), ei.ErrType)
	require.ErrorAs(t, out.Ref.UnmarshalText([]byte("#Ref<a@b")), new(*ei.TextError))
}
