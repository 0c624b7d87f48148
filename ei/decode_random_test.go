package ei_test

import (
	"bytes"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/race"
)

// exchanged are Go types, with what random_terms:typed/1 calls the terms that they take.
var exchanged = []struct {
	value any
	says  string
}{
	{struct {
		A bool
		B float64
		C string
		D ei.Atom
		E []byte
		F *big.Int
		G ei.Pid
		H ei.Raw
		I any
		J ei.Term
	}{}, "{struct,[{a,bool},{b,float},{c,text},{d,atom},{e,bytes},{f,big},{g,pid},{h,any},{i,any},{j,any}]}"},
	{struct {
		A int8
		B int16
		C int32
		D int64
		E uint8
		F uint16
		G uint32
		H uint64
	}{}, "{struct,[{a,{int,8}},{b,{int,16}},{c,{int,32}},{d,{int,64}},{e,{uint,8}},{f,{uint,16}},{g,{uint,32}},{h,{uint,64}}]}"},
	{struct {
		A string              `ei:",atom"`
		B []string            `ei:",charlist"`
		C ei.Optional[int8]   `ei:"key_c"`
		D ei.Optional[string] `ei:",atom"`
		E []*string           `ei:",atom"`
	}{}, "{struct,[{a,atom_text},{b,{list,charlist}},{key_c,{optional,{int,8}}},{d,{optional,atom_text}},{e,{list,{optional,atom_text}}}]}"},
	{struct {
		A []int64
		B [][]string
		C [3]float64
		D [0]bool
		E [2][]any
		F *struct{ A []bool }
	}{}, "{struct,[{a,{list,{int,64}}},{b,{list,{list,text}}},{c,{array,3,float}},{d,{array,0,bool}},{e,{array,2,{list,any}}}," +
		"{f,{optional,{struct,[{a,{list,bool}}]}}}]}"},
	{struct {
		A map[string]int16
		B map[ei.Atom][]any
		C map[int64]map[string]*float64
		D []struct{ A map[string]struct{ A []byte } }
	}{}, "{struct,[{a,{map,text,{int,16}}},{b,{map,atom,{list,any}}},{c,{map,{int,64},{map,text,{optional,float}}}}," +
		"{d,{list,{struct,[{a,{map,text,{struct,[{a,bytes}]}}}]}}}]}"},
}

// A tupleOf is a tuple of Go values.
type tupleOf []any

func (t tupleOf) AppendTerm(b []byte) ([]byte, error) {
	out := ei.AppendTupleHeader(b, len(t))
	for _, v := range t {
		var err error
		if out, err = ei.Append(out, v); err != nil {
			return b, err
		}
	}
	return out, nil
}

// Random terms of each release come back the same: through any, and through Go types.
func TestRandomTermsWithErl(t *testing.T) {
	terms := 100_000
	if testing.Short() || race.Enabled {
		terms = 2000
	}
	source, err := os.ReadFile("testdata/random_terms.erl")
	require.NoError(t, err)
	for _, erl := range needErl(t) {
		t.Run(filepath.Base(filepath.Dir(filepath.Dir(erl))), func(t *testing.T) { t.Parallel(); exchangeTerms(t, erl, source, terms) })
	}
}

func exchangeTerms(t *testing.T, erl string, source []byte, terms int) {
	var says []ei.Term
	for _, e := range exchanged {
		says = append(says, parsed(t, e.says))
	}
	dir := t.TempDir() // a release in a root of its own sees it
	file := filepath.Join(dir, "random_terms.erl")
	require.NoError(t, os.WriteFile(file, source, 0o600))
	cmd := exec.Command(erl, "-noshell", "-noinput", "-eval", fmt.Sprintf(
		`{ok, M, B} = compile:file(%q, [binary]), {module, M} = code:load_binary(M, "", B), M:run(%d)`, file, terms))
	cmd.Env = append(os.Environ(), "ERL_CRASH_DUMP=/dev/null")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()

	const packets = 4
	e, d := ei.NewEncoder(in, packets), ei.NewDecoder(out, packets)
	require.NoError(t, e.Encode(says))
	for n := 0; ; n++ {
		var asked struct {
			_     struct{} `ei:"tuple=term"`
			Index int
			Any   any
			Typed ei.Raw
		}
		var raw ei.Raw
		require.NoError(t, d.Decode(&raw), "%s", &complaints)
		if err := raw.Unmarshal(&asked); err != nil {
			require.Equal(t, fmt.Sprintf("{done,%d}", terms), raw.String())
			require.Equal(t, terms, n)
			return
		}
		typed := reflect.New(reflect.TypeOf(exchanged[asked.Index].value))
		require.NoError(t, asked.Typed.Unmarshal(typed.Interface()), "%v into %v", asked.Typed, typed.Type())
		require.NoError(t, e.Encode(tupleOf{asked.Any, typed.Interface()}))
	}
}
