package ei_test

import (
	"bytes"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/race"
)

// A generator makes Go types at random, and says to the runtime system what terms they take.
type generator struct{ *rand.Rand }

// A goType is a Go type, with the options of the field that it is of.
type goType struct {
	reflect.Type
	options string
	says    any // as random_terms:typed/1 takes it
}

func (g generator) simple() goType {
	is := func(v any, options string, says any) goType { return goType{reflect.TypeOf(v), options, says} }
	type pair = ei.Tuple
	all := []goType{
		is(false, "", ei.Atom("bool")), is(1.5, "", ei.Atom("float")), is("", "", ei.Atom("text")),
		is(ei.Atom(""), "", ei.Atom("atom")), is("", ",atom", ei.Atom("atom_text")), is("", ",charlist", ei.Atom("charlist")),
		is([]byte(nil), "", ei.Atom("bytes")), is(new(big.Int), "", ei.Atom("big")), is(ei.Pid{}, "", ei.Atom("pid")),
		is(ei.Raw(nil), "", ei.Atom("any")), {reflect.TypeFor[any](), "", ei.Atom("any")}, {reflect.TypeFor[ei.Term](), "", ei.Atom("any")},
		is(int8(0), "", pair{ei.Atom("int"), ei.Int(8)}), is(int16(0), "", pair{ei.Atom("int"), ei.Int(16)}),
		is(int32(0), "", pair{ei.Atom("int"), ei.Int(32)}), is(int(0), "", pair{ei.Atom("int"), ei.Int(strconv.IntSize)}),
		is(uint8(0), "", pair{ei.Atom("uint"), ei.Int(8)}), is(uint16(0), "", pair{ei.Atom("uint"), ei.Int(16)}),
		is(uint32(0), "", pair{ei.Atom("uint"), ei.Int(32)}), is(uint64(0), "", pair{ei.Atom("uint"), ei.Int(64)}),
		is(ei.Optional[int8]{}, "", pair{ei.Atom("optional"), pair{ei.Atom("int"), ei.Int(8)}}),
		is(ei.Optional[string]{}, ",atom", pair{ei.Atom("optional"), ei.Atom("atom_text")}),
	}
	return all[g.IntN(len(all))]
}

func (g generator) typ(depth int) goType {
	if depth == 0 {
		return g.simple()
	}
	switch g.IntN(6) {
	case 0, 1:
		return g.structType(depth)
	case 2:
		e := g.typ(depth - 1)
		if e.Type == reflect.TypeFor[uint8]() { // it would be a binary
			break
		}
		return goType{reflect.SliceOf(e.Type), e.options, tupleOf{ei.Atom("list"), e.says}}
	case 3:
		e := g.typ(depth - 1)
		if e.Type == reflect.TypeFor[uint8]() {
			break
		}
		n := g.IntN(4)
		return goType{reflect.ArrayOf(n, e.Type), e.options, tupleOf{ei.Atom("array"), n, e.says}}
	case 4:
		key := []goType{
			{reflect.TypeFor[string](), "", ei.Atom("text")}, {reflect.TypeFor[ei.Atom](), "", ei.Atom("atom")},
			{reflect.TypeFor[int](), "", ei.Tuple{ei.Atom("int"), ei.Int(strconv.IntSize)}},
		}[g.IntN(3)]
		e := g.typ(depth - 1)
		return goType{reflect.MapOf(key.Type, e.Type), e.options, tupleOf{ei.Atom("map"), key.says, e.says}}
	case 5:
		if e := g.typ(depth - 1); e.Kind() != reflect.Pointer && e.Kind() != reflect.Interface && e.Type != reflect.TypeFor[ei.Raw]() {
			return goType{reflect.PointerTo(e.Type), e.options, tupleOf{ei.Atom("optional"), e.says}}
		}
	}
	return g.simple()
}

func (g generator) structType(depth int) goType {
	var fields []reflect.StructField
	var says []any
	for i := range g.IntN(6) {
		e := g.typ(depth - 1)
		key := fmt.Sprintf("key_%d", i)
		fields = append(fields, reflect.StructField{
			Name: fmt.Sprintf("F%d", i), Type: e.Type, Tag: reflect.StructTag(fmt.Sprintf("ei:%q", key+e.options)),
		})
		says = append(says, tupleOf{ei.Atom(key), e.says})
	}
	return goType{reflect.StructOf(fields), "", tupleOf{ei.Atom("struct"), says}}
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
	g := generator{rand.New(rand.NewPCG(1, 2))}
	var types []goType
	var says []any
	for range 300 {
		typ := g.structType(3)
		types, says = append(types, typ), append(says, typ.says)
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
		typed := reflect.New(types[asked.Index].Type)
		require.NoError(t, asked.Typed.Unmarshal(typed.Interface()), "%v into %v", asked.Typed, typed.Type())
		require.NoError(t, e.Encode(tupleOf{asked.Any, typed.Interface()}))
	}
}
