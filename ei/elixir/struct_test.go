package elixir_test

import (
	"math"
	"math/big"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
)

var (
	leapDay = elixir.Date{Year: 2024, Month: time.February, Day: 29}
	noon    = elixir.Time{Hour: 12, Microsecond: elixir.Microsecond{Value: 120000, Precision: 3}}
)

const (
	dayText   = `calendar => 'Elixir.Calendar.ISO',day => 29,month => 2,year => 2024`
	clockText = `calendar => 'Elixir.Calendar.ISO',hour => 12,microsecond => {120000,3},minute => 0,second => 0`
	bothText  = `calendar => 'Elixir.Calendar.ISO',day => 29,hour => 12,microsecond => {120000,3},minute => 0,month => 2,second => 0`
)

// What Marshal makes of a value is this text, as Elixir has it, and Unmarshal gives the value back.
func TestBothWays(t *testing.T) {
	for _, tt := range []struct {
		value any
		text  string
	}{
		{leapDay, `#{'__struct__' => 'Elixir.Date',` + dayText + `}`},
		{
			elixir.Date{Year: -1, Month: 12, Day: 31},
			`#{'__struct__' => 'Elixir.Date',calendar => 'Elixir.Calendar.ISO',day => 31,month => 12,year => -1}`,
		},
		{noon, `#{'__struct__' => 'Elixir.Time',` + clockText + `}`},
		{leapDay.At(noon), `#{'__struct__' => 'Elixir.NaiveDateTime',` + bothText + `,year => 2024}`},
		{
			elixir.DateTime{Date: leapDay, Time: noon, UTCOffset: 3600, TimeZone: "Europe/Berlin", ZoneAbbr: "CET"},
			`#{'__struct__' => 'Elixir.DateTime',` + bothText +
				`,std_offset => 0,time_zone => <<"Europe/Berlin">>,utc_offset => 3600,year => 2024,zone_abbr => <<"CET">>}`,
		},
		{elixir.Decimal{Coef: big.NewInt(1234), Exp: -2}, `#{'__struct__' => 'Elixir.Decimal',coef => 1234,exp => -2,sign => 1}`},
		{elixir.Decimal{Neg: true, Special: elixir.Infinity}, `#{'__struct__' => 'Elixir.Decimal',coef => inf,exp => 0,sign => -1}`},
		{elixir.Decimal{Special: elixir.NaN}, `#{'__struct__' => 'Elixir.Decimal',coef => 'NaN',exp => 0,sign => 1}`},
		{elixir.NewMapSet(2, 1), `#{'__struct__' => 'Elixir.MapSet',map => #{1 => [],2 => []}}`},
		{
			elixir.MapSet[string]{Members: map[string]elixir.Member{}, Version: 2},
			`#{'__struct__' => 'Elixir.MapSet',map => #{},version => 2}`,
		},
		{
			elixir.NewMapSet(leapDay),
			`#{'__struct__' => 'Elixir.MapSet',map => #{#{'__struct__' => 'Elixir.Date',` + dayText + `} => []}}`,
		},
		{elixir.Range{First: 10, Last: 1, Step: -3}, `#{'__struct__' => 'Elixir.Range',first => 10,last => 1,step => -3}`},
		{elixir.Keyword[int]{{Key: "a", Value: 1}, {Key: "b", Value: 2}, {Key: "a", Value: 3}}, "[{a,1},{b,2},{a,3}]"},
		{elixir.Keyword[ei.Term]{}, "[]"},
		{
			elixir.NewException("Shop.Error", "sold out"),
			`#{'__exception__' => true,'__struct__' => 'Elixir.Shop.Error',message => <<"sold out">>}`,
		},
		{
			map[elixir.Date][]*elixir.Date{leapDay: {nil, &leapDay}},
			`#{#{'__struct__' => 'Elixir.Date',` + dayText + `} => [undefined,#{'__struct__' => 'Elixir.Date',` + dayText + `}]}`,
		},
		{
			struct {
				_    struct{} `ei:"struct=Elixir.X"`
				When ei.Optional[elixir.Date]
				Or   *elixir.Time
			}{},
			`#{'__struct__' => 'Elixir.X','or' => nil,'when' => nil}`,
		},
	} {
		data := marshal(t, tt.value)
		got, err := ei.Decode(data)
		require.NoError(t, err)
		want := parsed(t, tt.text)
		require.True(t, ei.Identical(want, got), "%v, not %v", got, want)
		v := reflect.New(reflect.TypeOf(tt.value))
		require.NoError(t, ei.UnmarshalTerm(want, v.Interface()), tt.text)
		require.Equal(t, tt.value, v.Elem().Interface())
	}
}

// A map without the name of the struct is read, too, and what a struct does not need may be
// missing.
func TestOrdinaryMaps(t *testing.T) {
	for _, tt := range []struct {
		text string
		want any
	}{
		{`#{year => 2024,month => 2,day => 29}`, leapDay},
		{`#{year => 2024,month => 2,day => 29,weather => fine}`, leapDay},
		{`#{hour => 12,minute => 0,second => 0}`, elixir.Time{Hour: 12}},
		{`#{year => 2024,month => 2,day => 29,hour => 12,minute => 0,second => 0,microsecond => {120000,3}}`, leapDay.At(noon)},
		{
			`#{year => 2024,month => 2,day => 29,hour => 12,minute => 0,second => 0,utc_offset => 0,std_offset => 0,time_zone => <<"Etc/UTC">>}`,
			elixir.DateTime{Date: leapDay, Time: elixir.Time{Hour: 12}, TimeZone: "Etc/UTC"},
		},
		{`#{sign => 1,coef => 5,exp => 0}`, elixir.NewDecimal(big.NewInt(5), 0)},
		{`#{map => #{1 => []}}`, elixir.NewMapSet(1)},
		{`#{first => 1,last => 3}`, elixir.Range{First: 1, Last: 3, Step: 1}},
		{`#{first => 3,last => 1}`, elixir.Range{First: 3, Last: 1, Step: -1}},
		{`#{'__struct__' => 'Elixir.Range',first => 3,last => 1}`, elixir.Range{First: 3, Last: 1, Step: -1}},
	} {
		term := parsed(t, tt.text)
		v := reflect.New(reflect.TypeOf(tt.want))
		require.NoError(t, ei.UnmarshalTerm(term, v.Interface()), tt.text)
		require.Equal(t, tt.want, v.Elem().Interface())
	}
}

// What is no such struct is refused, with a text that says why.
func TestRefused(t *testing.T) {
	type event struct{ When []elixir.Date }
	for _, tt := range []struct {
		text string
		into any
		want string
		is   error
	}{
		{`#{year => 2024,month => 13,day => 1}`, &elixir.Date{}, `month of a Date: 13 is not in 1..12`, ei.ErrRange},
		{`#{year => 2023,month => 2,day => 29}`, &elixir.Date{}, `day of a Date: 29 is not in 1..28`, ei.ErrRange},
		{`#{year => 2023,month => 2}`, &elixir.Date{}, `day of a Date: the key is missing`, ei.ErrRange},
		{`#{year => 1000000000,month => 2,day => 1}`, &elixir.Date{}, `year of a Date: 1000000000 is not in -999999999..999999999`, ei.ErrRange},
		{`#{}`, &elixir.Date{}, `ei: date: map #{}: elixir: year of a Date: the key is missing`, ei.ErrRange},
		{`x`, &elixir.Date{}, `ei: date: atom x where a map, of the struct Elixir.Date, is due`, ei.ErrType},
		{
			`#{'__struct__' => 'Elixir.Time'}`, &elixir.Date{},
			`ei: date: atom 'Elixir.Time' where the struct Elixir.Date is due`, ei.ErrType,
		},
		{
			`#{'when' => [#{year => 1,month => 1,day => 1},#{calendar => 'Elixir.Coptic'}]}`, &event{},
			`ei: event.when[1].calendar: atom 'Elixir.Coptic' where the atom 'Elixir.Calendar.ISO' is due`, ei.ErrType,
		},
		{
			`#{'when' => [#{year => 1,month => 0,day => 1}]}`, &event{},
			`ei: event.when[0]: map #{year => 1,month => 0,day => 1}: elixir: month of a Date: 0 is not in 1..12`, ei.ErrRange,
		},
		{`#{hour => 24,minute => 0,second => 0}`, &elixir.Time{}, `hour of a Time: 24 is not in 0..23`, ei.ErrRange},
		{`#{hour => 1,minute => 0,second => 60}`, &elixir.Time{}, `second of a Time: 60 is not in 0..59`, ei.ErrRange},
		{`#{hour => 1,minute => 0,second => 0,microsecond => {1000000,6}}`, &elixir.Time{}, `microsecond of a Time: 1000000 is not in`,
			ei.ErrRange},
		{`#{hour => 1,minute => 0,second => 0,microsecond => {1,7}}`, &elixir.Time{}, `microsecond's precision of a Time: 7 is not in 0..6`,
			ei.ErrRange},
		{`#{hour => 1,minute => 0,second => 0,microsecond => 5}`, &elixir.Time{}, `time.microsecond: integer 5 where a tuple is due`, ei.ErrType},
		{`#{year => 1,month => 1,day => 1}`, &elixir.NaiveDateTime{}, `hour of a NaiveDateTime: the key is missing`, ei.ErrRange},
		{
			`#{year => 1,month => 1,day => 1,hour => 1,minute => 0,second => 0}`, &elixir.DateTime{},
			`utc_offset of a DateTime: the key is missing`, ei.ErrRange,
		},
		{
			`#{year => 1,month => 1,day => 1,hour => 1,minute => 0,second => 0,utc_offset => 86400,std_offset => 0}`, &elixir.DateTime{},
			`utc_offset of a DateTime: 86400 is not in -86399..86399`, ei.ErrRange,
		},
		{
			`#{year => 1,month => 1,day => 1,hour => 1,minute => 0,second => 0,utc_offset => 0,std_offset => 0}`, &elixir.DateTime{},
			`time_zone of a DateTime: it is empty`, ei.ErrRange,
		},
		{`#{sign => 0,coef => 1,exp => 1}`, &elixir.Decimal{}, `sign of a Decimal: it is not 1 or -1`, ei.ErrRange},
		{`#{sign => 1,coef => -1,exp => 1}`, &elixir.Decimal{}, `coef of a Decimal: it is negative`, ei.ErrRange},
		{`#{sign => 1,coef => 1.5,exp => 1}`, &elixir.Decimal{}, `coef of a Decimal: it is no integer, :NaN or :inf`, ei.ErrRange},
		{`#{sign => 1,coef => {x},exp => 1}`, &elixir.Decimal{}, `coef of a Decimal: it is no integer, :NaN or :inf`, ei.ErrRange},
		{`#{sign => 1,exp => 1}`, &elixir.Decimal{}, `coef of a Decimal: it is no integer, :NaN or :inf`, ei.ErrRange},
		{`#{sign => 1,coef => 1}`, &elixir.Decimal{}, `exp of a Decimal: the key is missing`, ei.ErrRange},
		{`#{sign => 1,coef => 1,exp => 1000000000}`, &elixir.Decimal{}, `exp of a Decimal: 1000000000 is not in`, ei.ErrRange},
		{`#{sign => 1,coef => 1,exp => 10000000000000000000}`, &elixir.Decimal{}, `decimal.exp: integer 10000000000000000000`, ei.ErrRange},
		{`#{map => #{1 => true}}`, &elixir.MapSet[int]{}, `map_set.map[1]: atom true: [] wanted`, ei.ErrType},
		{`#{map => #{x => []}}`, &elixir.MapSet[int]{}, `map_set.map[key 0]: atom x where an integer`, ei.ErrType},
		{`#{first => 1}`, &elixir.Range{}, `first or last of a Range: the key is missing`, ei.ErrRange},
		{`#{first => 1,last => a}`, &elixir.Range{}, `range.last: atom a where an integer`, ei.ErrType},
		{`[{a,1},b]`, &elixir.Keyword[int]{}, `[1]: atom b where a tuple {key, value} is due`, ei.ErrType},
		{`#{message => <<"x">>}`, &elixir.Exception{}, `#{message => <<"x">>} where an exception of Elixir is due`, ei.ErrType},
		{`#{'__struct__' => 'Elixir.A','__exception__' => false}`, &elixir.Exception{}, `an exception of Elixir is due`, ei.ErrType},
		{`[]`, &elixir.Exception{}, `an exception of Elixir is due`, ei.ErrType},
	} {
		term := parsed(t, tt.text)
		err := ei.UnmarshalTerm(term, tt.into)
		require.ErrorContains(t, err, tt.want)
		require.ErrorIs(t, err, tt.is)
	}
}

// What is no such struct is not written either.
func TestNotWritten(t *testing.T) {
	for _, tt := range []struct {
		value any
		want  string
	}{
		{elixir.Date{}, `month of a Date: 0 is not in 1..12`},
		{elixir.Date{Year: math.MaxInt, Month: 1, Day: 1}, `year of a Date`},
		{elixir.Time{Hour: -1}, `hour of a Time: -1 is not in 0..23`},
		{elixir.NaiveDateTime{Date: leapDay, Time: elixir.Time{Minute: 60}}, `minute of a NaiveDateTime: 60 is not in 0..59`},
		{elixir.DateTime{Date: leapDay}, `time_zone of a DateTime: it is empty`},
		{elixir.Decimal{Coef: big.NewInt(-1)}, `coef of a Decimal: it is negative`},
		{elixir.Decimal{Special: 3}, `coef of a Decimal: it is no number, NaN or infinity`},
	} {
		_, err := ei.Marshal([]any{tt.value})
		require.ErrorContains(t, err, tt.want)
		require.ErrorIs(t, err, ei.ErrRange)
		require.ErrorAs(t, err, new(*elixir.ValueError))
	}
}

// Empty values are of use as they are.
func TestZeroValues(t *testing.T) {
	for _, tt := range []struct {
		value any
		text  string
	}{
		{elixir.MapSet[int]{}, `#{'__struct__' => 'Elixir.MapSet',map => #{}}`},
		{elixir.Range{}, `#{'__struct__' => 'Elixir.Range',first => 0,last => 0,step => 1}`},
		{elixir.Decimal{}, `#{'__struct__' => 'Elixir.Decimal',coef => 0,exp => 0,sign => 1}`},
		{elixir.Keyword[int](nil), `[]`},
		{&elixir.Exception{Module: "Elixir.A"}, `#{'__struct__' => 'Elixir.A','__exception__' => true}`},
	} {
		b, err := ei.Append(nil, tt.value)
		require.NoError(t, err)
		require.Equal(t, tt.text, ei.Raw(b).String())
	}
}
