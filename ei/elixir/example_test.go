package elixir_test

import (
	"fmt"
	"math/big"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
)

// A struct of Elixir with others in it, from a message to Go and back.
func Example() {
	type Order struct {
		_     struct{} `ei:"struct=Elixir.Shop.Order"`
		SKU   string   `ei:"sku"`
		Price elixir.Decimal
		When  elixir.Date
		Tags  elixir.MapSet[string]
	}
	data, err := ei.Marshal(Order{
		SKU:   "A1",
		Price: elixir.NewDecimal(big.NewInt(1999), -2),
		When:  elixir.DateOf(time.Date(2026, time.January, 1, 8, 0, 0, 0, time.UTC)),
		Tags:  elixir.NewMapSet("gift"),
	})
	if err != nil {
		panic(err)
	}
	var order Order
	if err := ei.Unmarshal(data, &order); err != nil {
		panic(err)
	}
	fmt.Println(order.SKU, order.Price, order.When, order.Tags.Has("gift"))

	order.When.Month = 13
	_, err = ei.Marshal(order)
	fmt.Println(err)
	// Output:
	// A1 19.99 2026-01-01 true
	// elixir: month of a Date: 13 is not in 1..12 (at /when)
}

// A schema of Ecto with :utc_datetime wants no fraction of a second.
func ExampleDateTimeOf() {
	at := time.Date(2024, time.February, 29, 12, 34, 56, 789_000_000, time.UTC)
	fmt.Println(elixir.DateTimeOf(at))
	fmt.Println(elixir.DateTimeOf(at).Truncate(0))
	// Output:
	// 2024-02-29 12:34:56.789000Z
	// 2024-02-29 12:34:56Z
}

func ExampleDateTime_Instant() {
	d := elixir.DateTime{
		Date:      elixir.Date{Year: 2024, Month: time.July, Day: 1},
		Time:      elixir.Time{Hour: 14},
		UTCOffset: 3600, StdOffset: 3600, TimeZone: "Europe/Berlin", ZoneAbbr: "CEST",
	}
	fmt.Println(d)
	fmt.Println(d.Instant().UTC())
	// Output:
	// 2024-07-01 14:00:00+02:00 CEST Europe/Berlin
	// 2024-07-01 12:00:00 +0000 UTC
}

func ExampleDecimal_Rat() {
	price, _ := elixir.ParseDecimal("19.99")
	r, _ := price.Rat()
	total, _ := elixir.DecimalOf(r.Mul(r, big.NewRat(3, 1)))
	fmt.Println(total)
	// Output: 59.97
}

func ExampleKeyword() {
	opts := elixir.Keyword[int]{{Key: "timeout", Value: 5000}, {Key: "retry", Value: 3}}
	b, _ := ei.Append(nil, opts)
	fmt.Println(ei.Raw(b))
	timeout, ok := opts.Get("timeout")
	fmt.Println(timeout, ok)
	// Output:
	// [{timeout,5000},{retry,3}]
	// 5000 true
}

// The error of a function that returned {:error, exception}.
func ExampleAsException() {
	term, _ := ei.Parse(`{error,#{'__exception__' => true,'__struct__' => 'Elixir.RuntimeError',message => <<"sold out">>}}`)
	var quote ei.Result[float64]
	if err := ei.UnmarshalTerm(term, &quote); err != nil {
		panic(err)
	}
	if e, ok := elixir.AsException(quote.Err); ok {
		fmt.Println(e, "and it is a", elixir.ModuleName(e.Module))
	}
	// Output: (RuntimeError) sold out and it is a RuntimeError
}
