package ei_test

import (
	"fmt"
	"io"
	"log"
	"math"
	"os"
	"strings"

	"github.com/cnode-go/cnode/ei"
)

// An order as Elixir sends it: %Shop.Order{sku: "A1", qty: 3, tags: ["x"], note: nil}.
type exampleOrder struct {
	_    struct{} `ei:"struct=Elixir.Shop.Order"`
	SKU  string
	Qty  int
	Tags []string
	Note *string
}

func ExampleUnmarshal() {
	// term_to_binary(Order), or what a message holds
	data, _ := ei.Marshal(exampleOrder{SKU: "A1", Qty: 3, Tags: []string{"x"}})

	var o exampleOrder
	if err := ei.Unmarshal(data, &o); err != nil {
		log.Fatal(err)
	}
	fmt.Println(o.SKU, o.Qty, o.Tags, o.Note == nil)
	// Output: A1 3 [x] true
}

// An error says where the term does not fit, and what would.
func ExampleUnmarshalError() {
	type line struct{ Price float64 }
	type quote struct{ Lines []line }
	data, _ := ei.Marshal(ei.Map{{Key: ei.Atom("lines"), Value: ei.List{
		ei.Map{{Key: ei.Atom("price"), Value: ei.Float(1.5)}},
		ei.Map{{Key: ei.Atom("price"), Value: ei.Binary("x")}},
	}}})
	fmt.Println(ei.Unmarshal(data, new(quote)))
	// Output: ei: quote.lines[1].price: binary <<"x">> where a float is due
}

// Records, tagged tuples and property lists.
func ExampleAppend_structs() {
	type user struct {
		_    struct{} `ei:"tuple=user"` // -record(user, {name, age})
		Name string
		Age  int
	}
	type options struct {
		_       struct{} `ei:"proplist"`
		Timeout int      `ei:"timeout,omitempty"`
		Verbose bool
		Mode    string `ei:",atom"`
	}
	for _, v := range []any{user{Name: "Joe", Age: 42}, options{Verbose: true, Mode: "fast"}} {
		b, err := ei.Append(nil, v)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(ei.Raw(b))
	}
	// Output:
	// {user,<<"Joe">>,42}
	// [{verbose,true},{mode,fast}]
}

func ExampleResult() {
	for _, reply := range []string{`{ok,#{size => 5}}`, `{error,enoent}`} {
		term, _ := ei.Parse(reply)
		var info ei.Result[struct{ Size int }]
		if err := ei.UnmarshalTerm(term, &info); err != nil {
			log.Fatal(err)
		}
		fmt.Println(info.Value.Size, info.Err)
	}
	// Output:
	// 5 <nil>
	// 0 enoent
}

type (
	exampleShape interface{ Area() float64 }
	exampleDisc  struct {
		_      struct{} `ei:"tuple=disc"`
		Radius float64
	}
	exampleDot struct {
		_ struct{} `ei:"atom=dot"`
	}
)

func (d exampleDisc) Area() float64 { return math.Pi * d.Radius * d.Radius }
func (exampleDot) Area() float64    { return 0 }

func ExampleRegisterVariants() {
	ei.RegisterVariants[exampleShape](exampleDisc{}, exampleDot{}) // once, where the interface is declared

	term, _ := ei.Parse("[{disc,1.0},dot]")
	var shapes []exampleShape
	if err := ei.UnmarshalTerm(term, &shapes); err != nil {
		log.Fatal(err)
	}
	for _, s := range shapes {
		fmt.Printf("%.2f\n", s.Area())
	}
	// Output:
	// 3.14
	// 0.00
}

// A program that Erlang runs as a port, by open_port({spawn_executable, Path}, [{packet, 4},
// binary]): it answers each term that comes on its standard input.
func ExampleDecoder() {
	const packets = 4
	serve := func(in io.Reader, out io.Writer) error {
		d, e := ei.NewDecoder(in, packets), ei.NewEncoder(out, packets)
		for {
			var words []string
			switch err := d.Decode(&words); err {
			case nil:
			case io.EOF: // the port was closed
				return nil
			default:
				return err
			}
			if err := e.Encode(strings.Join(words, " ")); err != nil {
				return err
			}
		}
	}
	if len(os.Args) == 0 { // in a program of its own: always
		log.Fatal(serve(os.Stdin, os.Stdout))
	}

	var in, out strings.Builder
	_ = ei.NewEncoder(&in, packets).Encode([]string{"hello", "world"})
	fmt.Println(serve(strings.NewReader(in.String()), &out))
	fmt.Printf("%q\n", out.String()[4:])
	// Output:
	// <nil>
	// "\x83m\x00\x00\x00\vhello world"
}
