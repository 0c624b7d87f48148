package elixir_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// An order has most of the types as fields.
type order struct {
	_     struct{} `ei:"struct=Elixir.Shop.Order"`
	SKU   string   `ei:"sku"`
	Price elixir.Decimal
	When  elixir.Date
	Tags  elixir.MapSet[string]
	At    *elixir.DateTime
	Until *elixir.Time
	Days  []elixir.Date
	Opts  elixir.Keyword[bool]
}

// kinds are the Go types for what structs.exs writes.
var kinds = map[string]any{
	"date": elixir.Date{}, "time": elixir.Time{}, "naive": elixir.NaiveDateTime{}, "datetime": elixir.DateTime{},
	"decimal": elixir.Decimal{}, "range": elixir.Range{}, "keyword": elixir.Keyword[int]{},
	"mapset": elixir.MapSet[int]{}, "mapset_old": elixir.MapSet[int]{}, "mapset_new": elixir.MapSet[int]{},
	"mapset_mixed": elixir.MapSet[any]{}, "mapset_terms": elixir.MapSet[ei.Term]{},
	"mapset_text": elixir.MapSet[string]{}, "mapset_date": elixir.MapSet[elixir.Date]{},
	"exception": &elixir.Exception{}, "order": order{},
}

// carried is a struct of Elixir in its Go type, and as that writes it.
func carried(t *testing.T, kind string, data []byte) (v any, back []byte) {
	t.Helper()
	if kind == "mapset_any" { // what is no key of a Go map cannot be an element
		var s elixir.MapSet[ei.Term]
		require.ErrorIs(t, ei.Unmarshal(data, &s), ei.ErrType)
		return nil, data
	}
	require.Contains(t, kinds, kind)
	p := reflect.New(reflect.TypeOf(kinds[kind]))
	require.NoError(t, ei.Unmarshal(data, p.Interface()), kind)
	back = marshal(t, p.Elem().Interface())
	return p.Elem().Interface(), back
}

// Everything that Elixir sends is read, has the text that Elixir gives it, and is the same when it
// comes back.
func TestWithElixir(t *testing.T) {
	script, err := os.ReadFile("testdata/structs.exs")
	require.NoError(t, err)
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, e.Program, "-e", string(script))
		cmd.Env = []string{"HOME=" + t.TempDir(), "LANG=C.UTF-8", "PATH=" + os.Getenv("PATH")}
		cmd.WaitDelay = 10 * time.Second
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { cancel(); _ = cmd.Wait() })
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		var backs []string
		for lines.Scan() && lines.Text() != "end" {
			kind, rest, _ := strings.Cut(lines.Text(), " ")
			data, text, _ := strings.Cut(rest, " ")
			value, back := carried(t, kind, decode64(t, data))
			if want := string(decode64(t, text)); want != "" {
				require.Equal(t, want, textOf(value))
			}
			backs = append(backs, base64.StdEncoding.EncodeToString(back))
		}
		require.NotEmpty(t, backs, &complaints)
		for _, back := range backs {
			_, err := fmt.Fprintln(in, back)
			require.NoError(t, err, &complaints)
		}
		var rest []string
		for lines.Scan() {
			rest = append(rest, lines.Text())
		}
		require.Equal(t, []string{"done"}, rest, &complaints)
	})
}

func textOf(v any) string {
	if e, ok := v.(error); ok {
		return e.Error()
	}
	return fmt.Sprint(v)
}

func decode64(t *testing.T, text string) []byte {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(text)
	require.NoError(t, err)
	return data
}

func parsed(t require.TestingT, text string) ei.Term {
	v, err := ei.Parse(text)
	require.NoError(t, err, text)
	return v
}

func marshal(t require.TestingT, v any) []byte {
	b, err := ei.Marshal(v)
	require.NoError(t, err, "%T", v)
	return b
}
