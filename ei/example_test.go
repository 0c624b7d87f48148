package ei_test

import (
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/ei"
)

func ExampleDecode() {
	term, err := ei.Decode([]byte("\x83h\x02w\x02okl\x00\x00\x00\x02a\x01a\x02j"))
	if err != nil {
		fmt.Println(err)
		return
	}
	if t, ok := term.(ei.Tuple); ok && len(t) == 2 && t[0] == ei.Atom("ok") {
		fmt.Println("the answer is", t[1])
	}
	fmt.Println(term)
	// Output:
	// the answer is [1,2]
	// {ok,[1,2]}
}

func ExampleMarshal() {
	b, err := ei.Marshal(map[string]any{"name": "Joe", "tags": []any{ei.Atom("a"), 1, 2.5}})
	if err != nil {
		fmt.Println(err)
		return
	}
	term, _ := ei.Decode(b)
	fmt.Println(term)
	// Output: #{<<"name">> => <<"Joe">>,<<"tags">> => [a,1,2.5]}
}

func ExampleCursor() {
	msg, _ := ei.Marshal(ei.Tuple{ei.Atom("set"), ei.Binary("temperature"), ei.List{ei.Int(20), ei.Int(21)}})

	c := ei.NewCursor(msg)
	if err := c.Version(); err != nil {
		fmt.Println(err)
		return
	}
	if arity, err := c.Tuple(); err != nil || arity != 3 || !c.AtomIs("set") {
		fmt.Println("not for us")
		return
	}
	key, _ := c.Binary() // shares the memory of msg
	n, _ := c.List()
	for range n {
		v, err := c.Int()
		fmt.Println(string(key), v, err)
	}
	if n > 0 {
		fmt.Println("tail:", c.Nil())
	}
	fmt.Println("bytes left:", c.Len())
	// Output:
	// temperature 20 <nil>
	// temperature 21 <nil>
	// tail: <nil>
	// bytes left: 0
}

func ExampleCursor_Raw() {
	// A message whose payload is passed on, not looked into.
	msg, _ := ei.Marshal(ei.Tuple{ei.Atom("forward"), ei.Map{{Key: ei.Atom("deep"), Value: ei.List{ei.Int(1)}}}})
	c := ei.NewCursor(msg)
	_ = c.Version()
	_, _ = c.Tuple()
	_ = c.AtomIs("forward")
	payload, err := c.Raw()
	if err != nil {
		fmt.Println(err)
		return
	}
	out, _ := ei.Marshal(ei.Tuple{ei.Atom("forwarded"), payload})
	term, _ := ei.Decode(out)
	fmt.Println(term)
	// Output: {forwarded,#{deep => [1]}}
}

func ExampleAppendTupleHeader() {
	b := ei.AppendVersion(nil)
	b = ei.AppendTupleHeader(b, 2)
	b, _ = ei.AppendAtom(b, "ok")
	b = ei.AppendListHeader(b, 2)
	b = ei.AppendInt(b, 1)
	b = ei.AppendInt(b, 2)
	b = ei.AppendNil(b)
	fmt.Printf("%q\n", b)
	// Output: "\x83h\x02w\x02okl\x00\x00\x00\x02a\x01a\x02j"
}

func ExampleParse() {
	term, err := ei.Parse(`#{name => "Joe", 'Age' => 16#2A, raw => <<1, 5:4>>}.`)
	fmt.Println(term, err)
	_, err = ei.Parse(`{ok, Value}`)
	fmt.Println(err)
	// Output:
	// #{name => "Joe",'Age' => 42,raw => <<1,5:4>>} <nil>
	// ei: not an Erlang term at offset 5: unexpected "Value}", a variable: an atom is 'Value'
}

func ExampleCompare() {
	fmt.Println(ei.Compare(ei.Int(1), ei.Float(1)), ei.Identical(ei.Int(1), ei.Float(1)))
	fmt.Println(ei.Compare(ei.Atom("zzz"), ei.Tuple{}))
	fmt.Println(ei.Compare(ei.String("ab"), ei.List{ei.Int('a'), ei.Int('b')}))
	// Output:
	// 0 false
	// -1
	// 0
}

func ExampleSyntaxError() {
	_, err := ei.Decode([]byte("\x83h\x02w\x02okm\x00\x00\x00\x09short"))
	var syntax *ei.SyntaxError
	if errors.As(err, &syntax) {
		fmt.Println(syntax.Offset, syntax.Path, errors.Is(err, ei.ErrTruncated))
	}
	// Output: 7 /1 true
}

func ExampleDecodeOptions() {
	o := ei.DecodeOptions{
		Limits: ei.Limits{Atoms: 3},
		Alias:  true,               // binaries share the memory of the input
		Atoms:  ei.NewAtomTable(0), // atoms are allocated once for all calls
	}
	_, err := o.Decode([]byte("\x83h\x04w\x01aw\x01bw\x01cw\x01d"))
	fmt.Println(err, errors.Is(err, ei.ErrLimit))
	// Output: ei: over the limit Atoms = 3 at offset 12 true
}

// Fahrenheit is sent as {fahrenheit, F}.
type Fahrenheit float64

func (f Fahrenheit) AppendTerm(b []byte) ([]byte, error) {
	return ei.AppendTerm(b, ei.Tuple{ei.Atom("fahrenheit"), ei.Float(f)})
}

func ExampleMarshaler() {
	b, _ := ei.Marshal([]Fahrenheit{32, 212})
	term, _ := ei.Decode(b)
	fmt.Println(term)
	// Output: [{fahrenheit,32.0},{fahrenheit,212.0}]
}

func ExampleRaw_Decode() {
	raw := ei.Raw("h\x02w\x02oka\x05")
	term, err := raw.Decode()
	fmt.Println(term, err)
	// Output: {ok,5} <nil>
}

func ExampleWalk() {
	t, err := ei.Parse("{[1,2|x],#{k => {3}}}")
	sum := ei.Int(0)
	for t := range ei.Walk(t) {
		if i, ok := t.(ei.Int); ok {
			sum += i
		}
	}
	fmt.Println(sum, err)
	// Output: 6 <nil>
}

func ExampleMap_Get() {
	m := ei.Map{{Key: ei.Atom("a"), Value: ei.Int(1)}, {Key: ei.Binary("b"), Value: ei.Int(2)}}
	fmt.Println(m.Get(ei.Binary("b")))
	fmt.Println(m.Get(ei.Atom("b")))
	// Output:
	// 2 true
	// <nil> false
}

func ExampleElements() {
	for _, t := range []ei.Term{ei.String("\x01\x02"), ei.List{ei.Int(1), ei.Int(1000)}, ei.List{}, ei.Raw{106}, ei.Atom("none")} {
		fmt.Println(ei.Elements(t))
	}
	// Output:
	// [1,2] true
	// [1,1000] true
	// [] true
	// [] true
	// [] false
}
