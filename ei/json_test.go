package ei_test

import (
	"encoding/json"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/terms"
)

func TestAppendJSON(t *testing.T) {
	for erlang, want := range map[string]string{
		"true":                     `true`,
		"false":                    `false`,
		"undefined":                `null`,
		"nil":                      `null`,
		"null":                     `null`,
		"ok":                       `"ok"`,
		"'a\"b\\\\é\\n\\x{1}'":     `"a\"b\\é\n\u0001"`,
		"-5":                       `-5`,
		"100000000000000000000":    `100000000000000000000`,
		"1.0":                      `1.0`,
		"-0.0":                     `-0.0`,
		"1.5e300":                  `1.5e300`,
		`<<"é\b\t\n\f\r"/utf8>>`:   `"é\b\t\n\f\r"`,
		"<<>>":                     `""`,
		"<<255>>":                  `{"base64":"/w=="}`,
		"<<5:3>>":                  `{"base64":"oA==","bits":3}`,
		"<<1,5:3>>":                `{"base64":"AaA=","bits":11}`,
		`"ab"`:                     `[97,98]`,
		"[]":                       `[]`,
		"[1,[a],{}]":               `[1,["a"],[]]`,
		"[1,2|x]":                  `{"list":[1,2],"tail":"x"}`,
		"{ok,[{a,1}]}":             `["ok",[["a",1]]]`,
		"#{}":                      `{}`,
		`#{a => 1,<<"b">> => #{}}`: `{"a":1,"b":{}}`,
		`#{1 => 1,{x} => 2,"s" => 3,<<255>> => 4,true => 5,nil => 6}`: `{"1":1,"{x}":2,"\"s\"":3,"<<255>>":4,"true":5,"nil":6}`,
		"#m:r{a = 1,b = []}":            `{"a":1,"b":[]}`,
		"#Pid<a@b.1.2.3>":               `"#Pid<a@b.1.2.3>"`,
		"fun lists:map/2":               `"fun lists:map/2"`,
		"#{'__struct__' => 'Elixir.A'}": `{"__struct__":"Elixir.A"}`,
	} {
		got, err := ei.AppendJSON([]byte("x"), parsed(t, erlang))
		require.NoError(t, err, erlang)
		require.Equal(t, "x"+want, string(got), erlang)
		require.True(t, json.Valid(got[1:]), erlang)
	}
	got, err := ei.AppendJSON(nil, ei.List{ei.Raw("w\x01a"), ei.ImproperList{Tail: ei.Int(1)}})
	require.NoError(t, err)
	require.Equal(t, `["a",1]`, string(got))
}

func TestAppendJSONRefuses(t *testing.T) {
	cyclic := make(ei.List, 1)
	cyclic[0] = cyclic
	for _, c := range []struct {
		t   ei.Term
		err error
	}{
		{parsed(t, `#{a => 1,<<"a">> => 2}`), ei.ErrDuplicate},
		{parsed(t, `[1,#{1 => 1,<<"1">> => 2},3]`), ei.ErrDuplicate},
		{ei.Float(math.Inf(1)), ei.ErrFloat},
		{ei.Atom("\xff"), ei.ErrAtom},
		{ei.Map{{Key: ei.Atom("\xff"), Value: ei.Int(1)}}, ei.ErrAtom},
		{ei.Tuple{ei.Raw("w")}, ei.ErrTruncated},
		{cyclic, ei.ErrCyclic},
	} {
		got, err := ei.AppendJSON([]byte("x"), c.t)
		require.ErrorIs(t, err, c.err)
		require.Equal(t, "x", string(got))
	}
	_, err := ei.AppendJSON(nil, ei.List{nil})
	require.ErrorAs(t, err, new(*ei.MappingError))
}

func TestJSONDeep(t *testing.T) {
	for open, end := range map[string]string{"[": "]", "{": "}", "#{a => ": "}"} {
		term := parsed(t, strings.Repeat(open, deep)+"1"+strings.Repeat(end, deep))
		got, err := ei.AppendJSON(nil, term)
		require.NoError(t, err)
		if end == "]" {
			require.Len(t, got, 2*deep+1)
		}
	}
}

// Whatever is written is JSON, and what JSON has is what the term has.
func TestJSONIsJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		term := terms.Of(3).Draw(t, "term")
		got, err := ei.AppendJSON(nil, term)
		if err != nil {
			require.ErrorIs(t, err, ei.ErrDuplicate)
			return
		}
		require.True(t, json.Valid(got), "%s", got)
		var v any
		d := json.NewDecoder(strings.NewReader(string(got)))
		d.UseNumber()
		require.NoError(t, d.Decode(&v))
		switch term := term.(type) {
		case ei.Tuple:
			require.Len(t, v, len(term))
		case ei.Map:
			require.Len(t, v, len(term))
		case ei.BigInt:
			i, ok := new(big.Int).SetString(v.(json.Number).String(), 10)
			require.True(t, ok)
			require.Zero(t, i.Cmp(term.Big()))
		case ei.Float:
			f, err := v.(json.Number).Float64()
			require.NoError(t, err)
			require.InDelta(t, float64(term), f, 0)
		}
	})
}

// FuzzAppendJSON checks that whatever can be decoded is JSON afterwards, or refused for its keys.
func FuzzAppendJSON(f *testing.F) {
	for _, data := range seeds(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		term, err := ei.Decode(data)
		if err != nil {
			return
		}
		got, err := ei.AppendJSON(nil, term)
		if err != nil {
			require.ErrorIs(t, err, ei.ErrDuplicate)
			return
		}
		if len(got) < 5000 { // json.Valid has a limit of depth
			require.True(t, json.Valid(got), "%s", got)
		}
	})
}

// A BigInt is a number in JSON, which is read back.
func TestBigIntJSON(t *testing.T) {
	most := strings.Repeat("9", 1<<16)
	for _, text := range []string{"9223372036854775808", "-9223372036854775809", "18446744073709551616", "0", most, "-" + most} {
		v, ok := new(big.Int).SetString(text, 10)
		require.True(t, ok)
		b, _ := ei.NewBigInt(v).(ei.BigInt) // the zero one for 0
		data, err := json.Marshal(map[string]any{"n": b})
		require.NoError(t, err)
		require.Equal(t, `{"n":`+text+`}`, string(data))
		var back struct {
			N   ei.BigInt
			Not ei.BigInt
		}
		require.NoError(t, json.Unmarshal(ei.Raw(data), &back))
		require.Equal(t, b, back.N)
		require.NoError(t, json.Unmarshal([]byte(`{"n":null}`), &back))
		require.Equal(t, b, back.N)
		inTerm, err := ei.AppendJSON(nil, ei.NewBigInt(v))
		require.NoError(t, err)
		require.Equal(t, text, string(inTerm))
	}
	var v ei.BigInt
	for _, text := range []string{"1", "-1", "9223372036854775807", "-9223372036854775808"} {
		require.ErrorIs(t, json.Unmarshal([]byte(text), &v), ei.ErrRange, text)
	}
	for _, text := range []string{`"1"`, "1.5", "1e30", "true", "[1]", "-", ""} {
		require.Error(t, v.UnmarshalJSON([]byte(text)), text)
	}
	require.ErrorIs(t, v.UnmarshalJSON([]byte("1e30")), ei.ErrText)
}

// An integer of a megabyte is refused, and takes no time.
func TestHugeIntegersAsJSON(t *testing.T) {
	huge := ei.NewBigInt(new(big.Int).Lsh(big.NewInt(1), 8<<20))
	more := new(big.Int).Exp(big.NewInt(10), big.NewInt(1<<16), nil) // a digit more than may be
	for _, v := range []ei.Term{huge, ei.NewBigInt(more), ei.NewBigInt(more.Neg(more))} {
		var over *ei.LimitError
		_, err := json.Marshal(v)
		require.ErrorAs(t, err, &over)
		dst, err := ei.AppendJSON([]byte("x"), ei.List{v})
		require.ErrorAs(t, err, &over)
		require.Equal(t, ei.LimitError{Limit: "digits of an integer", Max: 1 << 16}, *over)
		require.Equal(t, "x", string(dst))
	}
	require.Len(t, huge.String(), len("16#1")+2<<20) // in hexadecimal, as Elixir's text
	text := strings.Repeat("9", 1<<16+1)
	require.ErrorIs(t, json.Unmarshal([]byte(text), new(ei.BigInt)), ei.ErrLimit)
	_, err := ei.Parse(text)
	require.ErrorIs(t, err, ei.ErrLimit)
}
