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
	raw, err := ei.AppendTerm(nil, ei.Tuple{ei.Atom("ok"), ei.Binary("hi")})
	require.NoError(t, err)
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
	} {
		var b bytes.Buffer
		slog.New(slog.NewTextHandler(&b, nil)).Info("", "term", tc.term)
		_, got, _ := strings.Cut(strings.TrimSpace(b.String()), "term=")
		if got[0] == '"' {
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
