// Package elixir has what package ei needs Elixir for: its syntax, and Go types for its structs.
//
// [AppendText] writes any term as Elixir's inspect does, and [Parse] reads what Elixir's own parser
// reads. Neither blocks; untrusted text costs memory and time in proportion to its size.
//
// The types are for the structs that Elixir's own library, and the library Decimal, give a service
// to handle. Each is a value that [ei.Marshal] and [ei.Unmarshal] know: as it is, as
// a field, through a pointer, in a slice, and as the key of a map if Go compares it.
//
//	type Order struct {
//		_     struct{} `ei:"struct=Elixir.Shop.Order"`
//		SKU   string   `ei:"sku"`
//		Price elixir.Decimal
//		When  elixir.Date
//		Tags  elixir.MapSet[string]
//	}
//
// As with time.Time and encoding/json, a struct that embeds one of them, without a name for the
// field, has its methods, and is written as that alone.
//
// # Elixir and Go
//
//	Elixir           here              from Go                    to Go
//	%Date{}          Date              DateOf(time.Time)          Date.In(loc): its first moment
//	%Time{}          Time              TimeOf(time.Time)          Time.Duration(), since midnight
//	%NaiveDateTime{} NaiveDateTime     NaiveDateTimeOf(time.Time) NaiveDateTime.In(loc)
//	%DateTime{}      DateTime          DateTimeOf(time.Time)      DateTime.Instant()
//	%Decimal{}       Decimal           NewDecimal, ParseDecimal,  Rat(), Coef and Exp, String()
//	                                   DecimalOf(*big.Rat)
//	%MapSet{}        MapSet[T]         NewMapSet(elements...)     its Members, a Go map
//	first..last//s   Range             a literal                  Range.All(), Len(), Contains()
//	[key: value]     Keyword[T]        a literal                  it is a slice; Get(key), Map()
//	exceptions       *Exception        NewException               it is an error; AsException(err)
//	Some.Module      an ei.Atom        Module("Some.Module")      ModuleName
//
// The texts of the methods String are those of to_string, which for a struct of the calendar is
// that of ISO 8601, or nearly: 2024-02-29 12:34:56.120Z.
//
// # What is read
//
// A map without the key __struct__ that has the other keys is read as the struct would be: not
// every sender has its module. Of a struct of the calendar, calendar and microsecond may be missing
// then. The only calendar is Calendar.ISO, and what that does not have (a month 13, a second 60) is
// a [ValueError], whichever way it goes. The precision of microseconds is kept, so what Elixir
// sends comes back to it as the same term.
//
// What a type has no room for, such as a year beyond 9,999 for Elixir 1.14, is for the receiver to
// refuse: Elixir itself does not look at a struct that comes in a message.
//
// The structs are those of Elixir 1.14 to 1.20, and of Decimal 2 and 3; nothing has changed in them
// in between, but for [MapSet].
//
// # Stability
//
// The names are stable. New versions of Elixir may bring structs new fields, for which the types
// here get fields, too: write literals with their names.
package elixir
