package ei_test

import (
	"math"
	"math/big"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
)

type (
	inner   struct{ A, B int }
	Deepest struct{ D int }
	deeper  struct {
		Deepest
		C int
	}
	Exported struct{ E int }
	twice    struct {
		inner
		deeper
		*Exported
		F int
	}
	shadow struct {
		inner
		A string
	}
	NamedInner struct{ X int }
	named      struct {
		NamedInner `ei:"in"`
		Y          int
	}
	record struct {
		_    struct{} `ei:"tuple=rec"`
		Name string
		In   *record
	}
	props struct {
		_    struct{} `ei:"proplist"`
		Name string
		Flag bool
		N    *int `ei:",omitempty"`
		Any  any  `ei:",omitempty"`
	}
	binKeys struct {
		_    struct{} `ei:"keys=binary"`
		Name string
		ÄÖ   int `ei:"äö"`
	}
	strKeys struct {
		_    struct{} `ei:"keys=string"`
		Name string
		J    int `ei:"日本"`
	}
	elixirStruct struct {
		_    struct{} `ei:"struct=Elixir.A"`
		Name *string
	}
	elixirUndefined struct {
		_    struct{} `ei:"struct=Elixir.A,undefined"`
		Name *string
	}
	nils struct {
		_ struct{} `ei:"nil"`
		A *int
		B ei.Optional[int]
		C []*int
		D map[string]*int
		E outerDefault
	}
	outerDefault struct{ A *int }
	omits        struct {
		A int              `ei:",omitempty"`
		B string           `ei:",omitempty"`
		C []int            `ei:",omitempty"`
		D map[string]int   `ei:",omitempty"`
		E *int             `ei:",omitempty"`
		F ei.Optional[int] `ei:",omitempty"`
		G bool             `ei:",omitempty"`
		H any              `ei:",omitempty"`
		I [0]int           `ei:",omitempty"`
		J float64          `ei:",omitempty"`
		K ei.Term          `ei:",omitempty"`
		L ei.Atom          `ei:",omitempty"`
		M *[]int           `ei:",omitempty"`
	}
	omitProps struct {
		_ struct{} `ei:"proplist"`
		A int      `ei:",omitempty"`
		B bool     `ei:",omitempty"`
		C bool
	}
	pairs struct {
		A [2]int   `ei:",tuple"`
		B []string `ei:",tuple"`
		C [][2]int `ei:",tuple"`
		D []int    `ei:"d,tuple,omitempty"`
		F *[2]int  `ei:",tuple"`
	}
	zeroes struct {
		N big.Int    `ei:",omitempty"`
		A [2]int     `ei:",omitempty"`
		S *zeroes    `ei:",omitempty"`
		Q [1]big.Int `ei:",omitempty"`
	}
	Twice struct {
		Left
		Right
	}
	shadowTwice struct {
		Twice
		Same int
	}
	WithTime   struct{ Same time.Time }
	shadowTime struct {
		*WithTime
		Same int
	}
	locked struct {
		sync.Mutex
		onlyHere
		A int
	}
	timeouts struct {
		First time.Duration              `ei:"ms,ms"`
		NS    time.Duration              `ei:"ns,ns"`
		US    time.Duration              `ei:"us,us"`
		S     []time.Duration            `ei:",s"`
		T     map[string]*time.Duration  `ei:",ms"`
		O     ei.Optional[time.Duration] `ei:",s"`
	}
	nilInterfaces struct {
		Any     any
		Shape   shape
		Pointer *shape
	}
	numbersKeys struct {
		HTTPServer, ID, UserID2, A1B, APIKey, X, IPv6Addr, UserIDs int
	}
)

// computedZero is 0, and not the zero value of Go.
func computedZero() big.Int {
	var n big.Int
	n.Sub(big.NewInt(1), big.NewInt(1))
	return n
}

func TestSnakeCase(t *testing.T) {
	for name, want := range map[string]string{
		"OrderID": "order_id", "HTTPServer": "http_server", "UserIDs": "user_ids", "URLs": "urls", "ACLs": "acls",
		"IPv4": "ipv4", "IPv4Addr": "ipv4_addr", "IDsByName": "ids_by_name", "SHA256Sum": "sha256_sum", "TLSv13": "tlsv13",
		"ID": "id", "IDs2": "ids2", "AIsland": "a_island", "GetAValue": "get_a_value", "OAuth2": "o_auth2", "XY_Z": "xy_z",
		"S": "s", "As": "as", "IsA": "is_a", "ÄÖs": "äös", "": "", "snake_case": "snake_case", "APIVersion": "api_version",
	} {
		require.Equal(t, want, ei.SnakeCase(name), name)
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`([A-Z]{1,4}[a-z]{0,3}[0-9]{0,2}_?){1,4}`).Draw(t, "name")
		snake := ei.SnakeCase(name)
		require.Equal(t, snake, ei.SnakeCase(snake))
		require.Equal(t, strings.ToLower(strings.ReplaceAll(name, "_", "")), strings.ReplaceAll(snake, "_", ""))
	})
}

func TestOmitComputedZero(t *testing.T) {
	require.Equal(t, "#{s => #{}}", textOf(t, zeroes{N: computedZero(), S: &zeroes{Q: [1]big.Int{computedZero()}}}))
	require.Equal(t, "#{a => [0,1],n => 1,q => [-1]}", textOf(t, zeroes{N: *big.NewInt(1), A: [2]int{0, 1}, Q: [1]big.Int{*big.NewInt(-1)}}))
}

// Structs in their forms: what is read from the text, and the text of what was read.
func TestStructForms(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       any
		again      string // if not text
	}{
		{"map", "#{a => 1,b => 2}", inner{1, 2}, ""},
		{"other order", "#{b => 2,a => 1}", inner{1, 2}, "#{a => 1,b => 2}"},
		{"missing", "#{b => 2}", inner{B: 2}, "#{a => 0,b => 2}"},
		{"unknown", `#{b => 2,c => [{1}],<<"a">> => x,1 => 2,"a" => 3,#{} => #{}}`, inner{B: 2}, "#{a => 0,b => 2}"},
		{"empty", "#{}", inner{}, "#{a => 0,b => 0}"},
		{"embedded", "#{a => 1,b => 2,c => 3,d => 4,e => 5,f => 6}",
			twice{inner{1, 2}, deeper{Deepest{4}, 3}, &Exported{5}, 6}, ""},
		{"embedded pointer without keys", "#{a => 1,b => 2,c => 3,d => 4,f => 6}", twice{inner{1, 2}, deeper{Deepest{4}, 3}, nil, 6}, ""},
		{"embedded with a tag", "#{in => #{x => 1},y => 2}", named{NamedInner{1}, 2}, ""},
		{"record", `{rec,<<"a">>,{rec,<<"b">>,undefined}}`, record{Name: "a", In: &record{Name: "b"}}, ""},
		{"record, nil", `{rec,"a",nil}`, record{Name: "a"}, `{rec,<<"a">>,undefined}`},
		{"property list", `[{name,<<"a">>},{flag,true},{n,1},{any,x}]`, props{Name: "a", Flag: true, N: ptr(1), Any: ei.Atom("x")}, ""},
		{"bare atoms", `[flag,{name,"a"}]`, props{Name: "a", Flag: true}, `[{name,<<"a">>},{flag,true}]`},
		{"bare atom for any", `[any]`, props{Any: ei.Atom("true")}, `[{name,<<>>},{flag,false},{any,true}]`},
		{"no property", `[]`, props{}, `[{name,<<>>},{flag,false}]`},
		{"unknown properties", `[other,{other,1},{1,2},{a,b,c},1,<<"x">>,[],{"flag",true},{name,"a"}]`, props{Name: "a"},
			`[{name,<<"a">>},{flag,false}]`},
		{"first property counts", `[{name,"a"},{name,"b"},{name,1},{flag,false},flag]`, props{Name: "a"}, `[{name,<<"a">>},{flag,false}]`},
		{"properties, list as tail", `[flag|[{name,"a"}|[{n,1}]]]`, props{Name: "a", Flag: true, N: ptr(1)},
			`[{name,<<"a">>},{flag,true},{n,1}]`},
		{"binary keys", `#{<<"name">> => <<"x">>,<<"äö"/utf8>> => 1}`, binKeys{Name: "x", ÄÖ: 1}, ""},
		{"string keys", `#{"name" => <<"x">>,[26085,26412] => 1}`, strKeys{Name: "x", J: 1}, ""},
		{"Elixir struct", "#{'__struct__' => 'Elixir.A',name => <<\"x\">>}", elixirStruct{Name: ptr("x")}, ""},
		{"Elixir struct, nil", "#{'__struct__' => 'Elixir.A',name => nil}", elixirStruct{}, ""},
		{"Elixir struct, undefined", "#{'__struct__' => 'Elixir.A',name => undefined}", elixirUndefined{}, ""},
		{"Elixir struct without its name", "#{name => <<\"x\">>}", elixirStruct{Name: ptr("x")},
			"#{'__struct__' => 'Elixir.A',name => <<\"x\">>}"},
		{"name of a struct where none is due", "#{'__struct__' => 'Elixir.A',a => 1,b => 2}", inner{1, 2}, "#{a => 1,b => 2}"},
		{"nil within", "#{a => nil,b => nil,c => [nil],d => #{<<\"x\">> => nil},e => #{a => undefined}}",
			nils{C: []*int{nil}, D: map[string]*int{"x": nil}}, ""},
		{"names", "#{a1_b => 4,api_key => 5,http_server => 1,id => 2,ipv6_addr => 7,user_id2 => 3,user_ids => 8,x => 6}",
			numbersKeys{1, 2, 3, 4, 5, 6, 7, 8}, ""},
		{"tuples", "#{a => {1,2},b => {<<\"x\">>},c => {[1,2],[3,4]},f => {4,5}}",
			pairs{[2]int{1, 2}, []string{"x"}, [][2]int{{1, 2}, {3, 4}}, nil, &[2]int{4, 5}}, ""},
		{"nothing to omit", "#{}", omits{}, ""},
		{"shadowed", `#{a => <<"x">>,b => 2}`, shadow{inner{B: 2}, "x"}, ""},
		{"shadowed twice", "#{same => 1}", shadowTwice{Same: 1}, ""},
		{"shadowed, of a type that is no term", "#{same => 1}", shadowTime{Same: 1}, ""},
		{"lock, and what is not exported", "#{a => 1}", &locked{onlyHere: onlyHere{}, A: 1}, ""},
		{"durations", "#{ms => 5000,ns => infinity,us => -7,s => [1,infinity],t => #{<<\"x\">> => 2},o => 3}", timeouts{
			5 * time.Second, math.MaxInt64, -7 * time.Microsecond, []time.Duration{time.Second, math.MaxInt64},
			map[string]*time.Duration{"x": ptr(2 * time.Millisecond)}, ei.Some(3 * time.Second)}, ""},
		{"nil interfaces", "#{any => undefined,shape => undefined,pointer => undefined}", nilInterfaces{Any: ei.Atom("undefined")}, ""},
		{"omitted", `#{c => [],d => #{},i => []}`, omits{C: []int{}, D: map[string]int{}}, "#{}"},
		{"not omitted", `#{e => 0,f => 0,h => 0,k => 0,m => []}`,
			omits{E: ptr(0), F: ei.Some(0), H: ei.Int(0), K: ei.Int(0), M: &[]int{}}, ""},
		{"omitted property", `[{c,false}]`, omitProps{}, ""},
		{"of all kinds", `#{extra => {},from => #Pid<a@b.1.0.2>,lines => [#{price => 1.5,qty => 2,sku => <<"x">>}],note => undefined,` +
			`order_id => <<"A1">>,state => new}`, quote{OrderID: "A1", Lines: []line{{"x", 2, 1.5}}, State: "new",
			From: ei.Pid{Node: "a@b", ID: 1, Creation: 2}, Extra: ei.Tuple{}}, ""},
		{"tuple in a tuple", "{1,{2,undefined}}", node{Value: 1, Next: &node{Value: 2}}, ""},
		{"forms of text", `#{a => red,b => ["ab",[26085],[]],c => <<"fast">>,d => #{<<"k">> => v},e => {1,2},f => {1},` +
			`hh => h,i => {ok,<<"v">>},j => #{f => [1.0]}}`, textForms{
			A: "red", B: []string{"ab", "日", ""}, C: "fast", D: map[string]*string{"k": ptr("v")}, E: [2]int{1, 2}, F: []any{ei.Int(1)},
			H: ei.Some(ei.Atom("h")), I: ei.Result[string]{Value: "v"}, J: map[ei.Atom][]float32{"f": {1}},
		}, ""},
		{"atom", "stop", stop{}, ""},
		{"variants", "[{circle,1.0},point,{square,2.0,{circle,3.0}}]",
			[]shape{circle{R: 1}, point{}, &square{Side: 2, In: circle{R: 3}}}, ""},
		{"variant as a key", "#{point => 1}", map[shape]int{point{}: 1}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readInto(t, ei.DecodeOptions{}, encoded(t, tt.text), typeOf(tt.want))
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
			again := appended(t, got)
			want := tt.again
			if want == "" {
				want = tt.text
			}
			term, err := ei.Raw(again).Decode()
			require.NoError(t, err)
			require.True(t, ei.Identical(ei.Raw(encoded(t, want)[1:]), term), "%s", term)
		})
	}
}

// What a struct refuses, with where it is.
func TestStructRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		into       any
		is         error
		want       string
	}{
		{"model", `#{lines => [#{price => 1.0},#{},#{},#{price => <<"x">>}]}`, quote{}, ei.ErrType,
			`ei: quote.lines[3].price: binary <<"x">> where a float is due`},
		{"list", "[]", inner{}, ei.ErrType, "ei: inner: list [] where a map is due"},
		{"tuple", "{1,2}", inner{}, ei.ErrType, ""},
		{"undefined", "undefined", inner{}, ei.ErrType, ""},
		{"embedded", "#{d => x}", twice{}, ei.ErrType, "ei: twice.d: atom x where an integer is due"},
		{"embedded pointer", "#{e => x}", twice{}, ei.ErrType, "ei: twice.e: atom x where an integer is due"},
		{"arity", "{rec,<<>>}", record{}, ei.ErrType, ""},
		{"arity over", "{rec,<<>>,nil,1}", record{}, ei.ErrType, ""},
		{"tag", "{rek,<<>>,nil}", record{}, ei.ErrType, ""},
		{"no tag", "{1,<<>>,nil}", record{}, ei.ErrType, ""},
		{"empty tuple", "{}", record{}, ei.ErrType, ""},
		{"record within", "{rec,<<>>,{rec,1,nil}}", record{}, ei.ErrType, "ei: record.in.name: integer 1 where text is due"},
		{"map for record", "#{}", record{}, ei.ErrType, ""},
		{"atom for record", "rec", record{}, ei.ErrType, ""},
		{"property", "[{n,x}]", props{}, ei.ErrType, "ei: props.n: atom x where an integer is due"},
		{"bare atom for text", "[name]", props{}, ei.ErrType, ""},
		{"improper", "[flag|x]", props{}, ei.ErrType, ""},
		{"improper within", "[flag|[flag|x]]", props{}, ei.ErrType, ""},
		{"tuple for properties", "{n,1}", props{}, ei.ErrType, ""},
		{"atom for properties", "flag", props{}, ei.ErrType, ""},
		{"other struct", "#{'__struct__' => 'Elixir.B'}", elixirStruct{}, ei.ErrType, ""},
		{"struct no atom", "#{'__struct__' => <<\"Elixir.A\">>}", elixirStruct{}, ei.ErrType, ""},
		{"atom", "start", stop{}, ei.ErrType, ""},
		{"text for atom", `<<"stop">>`, stop{}, ei.ErrType, ""},
		{"tuples", "#{a => [1,2]}", pairs{}, ei.ErrType, ""},
		{"tuples, arity", "#{a => {1,2,3}}", pairs{}, ei.ErrType, ""},
		{"tuples, element", "#{b => {<<>>,1}}", pairs{}, ei.ErrType, "ei: pairs.b[1]: integer 1 where text is due"},
		{"variant", "{circle,a}", [1]shape{}, ei.ErrType, ""},
		{"no variant", "[{triangle,1.0}]", [1]shape{}, ei.ErrType, ""},
		{"no variant, atom", "[circle]", [1]shape{}, ei.ErrType, ""},
		{"no variant, arity", "[{circle}]", [1]shape{}, ei.ErrType, ""},
		{"duration of half a unit", "#{ms => 0.5}", timeouts{}, ei.ErrType, "ei: timeouts.ms: float 0.5 where an integer or infinity is due"},
		{"duration, other atom", "#{ms => forever}", timeouts{}, ei.ErrType, ""},
		{"duration too long", "#{ms => 9223372036855}", timeouts{}, ei.ErrRange,
			"ei: timeouts.ms: integer 9223372036855 where an integer or infinity is due: number out of range"},
		{"duration too negative", "#{s => [-9223372037]}", timeouts{}, ei.ErrRange, ""},
		{"duration like infinity", "#{ns => 9223372036854775807}", timeouts{}, ei.ErrRange, ""},
		{"variant within", "[{square,2.0,{circle,x}}]", [1]shape{}, ei.ErrType, "ei: [0].in.r: atom x where a float is due"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readInto(t, ei.DecodeOptions{}, encoded(t, tt.text), typeOf(tt.into))
			require.ErrorIs(t, err, tt.is)
			require.ErrorAs(t, err, new(*ei.UnmarshalError))
			if tt.want != "" {
				require.Equal(t, tt.want, err.Error())
			}
		})
	}
}

// A key that comes twice is refused wherever something is read; what is skipped is not looked at.
func TestDuplicateKeys(t *testing.T) {
	for _, tt := range []struct {
		name, data string
		skipped    bool // by a struct
	}{
		{"known", "t\x00\x00\x00\x02w\x01aa\x01w\x01aa\x02", false},
		{"same values", "t\x00\x00\x00\x02w\x01aa\x01w\x01aa\x01", false},
		{"old atom", "t\x00\x00\x00\x02w\x01aa\x01d\x00\x01aa\x02", false},
		{"in two forms", "t\x00\x00\x00\x02d\x00\x01aa\x01v\x00\x01aa\x02", false},
		{"unknown", "t\x00\x00\x00\x02w\x01ca\x01w\x01ca\x02", true},
		{"within", "t\x00\x00\x00\x01w\x01ct\x00\x00\x00\x02a\x01ja\x01j", true},
	} {
		for _, v := range []any{new(inner), new(map[ei.Atom]any), new(ei.Term), new(any), new(ei.Map), new(map[any]ei.Term)} {
			err := ei.Raw(tt.data).Unmarshal(v)
			if _, ok := v.(*inner); ok && tt.skipped {
				require.NoError(t, err, tt.name)
				continue
			}
			require.ErrorIs(t, err, ei.ErrDuplicate, "%s, %T", tt.name, v)
			list := reflect.New(reflect.SliceOf(typeOf(v).Elem()))
			err = ei.Raw("l\x00\x00\x00\x01" + tt.data + "j").Unmarshal(list.Interface())
			require.ErrorIs(t, err, ei.ErrDuplicate, "%s, %T", tt.name, v)
		}
	}
}

// What a term does not have stays as it was; a map and a slice are made anew.
func TestUnmarshalInto(t *testing.T) {
	v := quote{OrderID: "A1", Lines: []line{{"a", 1, 1}, {"b", 2, 2}}, Note: ptr("n"), hidden: 7, Tags: []string{"x"}}
	lines, note := v.Lines, v.Note
	require.NoError(t, ei.Unmarshal(encoded(t, `#{lines => [#{qty => 5}],note => "m"}`), &v))
	require.Equal(t, "A1", v.OrderID)
	require.Equal(t, []line{{Qty: 5}}, v.Lines, "an element is made anew")
	require.Equal(t, "m", *v.Note)
	require.Same(t, note, v.Note, "what is pointed to is kept")
	require.Equal(t, 7, v.hidden)
	require.Equal(t, []string{"x"}, v.Tags)
	require.Equal(t, line{"b", 2, 2}, lines[1])

	m := map[string]int{"a": 1}
	was := m
	require.NoError(t, ei.Unmarshal(encoded(t, `#{<<"b">> => 2}`), &m))
	require.Equal(t, map[string]int{"b": 2}, m)
	require.Equal(t, map[string]int{"a": 1}, was)
	require.NoError(t, ei.Unmarshal(encoded(t, `#{}`), &m))
	require.Equal(t, map[string]int{}, m)

	p := ptr(5)
	require.NoError(t, ei.Unmarshal(encoded(t, "undefined"), &p))
	require.Nil(t, p)
	o := ei.Some(5)
	require.NoError(t, ei.Unmarshal(encoded(t, "nil"), &o))
	require.Equal(t, ei.Optional[int]{}, o)

	// defaults behind a pointer stay
	type limits struct{ Depth, Width int }
	type options struct {
		Limits *limits
		More   ei.Optional[limits]
		Big    *big.Int
		None   **limits
		All    []*limits
	}
	d := limits{3, 4}
	opts := options{Limits: &d, More: ei.Some(limits{5, 6}), Big: big.NewInt(7), All: []*limits{&d}}
	n := opts.Big
	require.NoError(t, ei.Unmarshal(encoded(t, "#{limits => #{depth => 1},more => #{width => 2},big => 8,none => #{depth => 9},"+
		"all => [#{width => 1}]}"), &opts))
	require.Same(t, &d, opts.Limits)
	require.Equal(t, limits{1, 4}, d, "and elements are made anew")
	require.Equal(t, ei.Some(limits{5, 2}), opts.More)
	require.Same(t, n, opts.Big)
	require.Equal(t, big.NewInt(8), n)
	require.Equal(t, limits{9, 0}, **opts.None)
	require.Equal(t, limits{0, 1}, *opts.All[0])
	absent := ei.Optional[limits]{Value: limits{5, 6}}
	require.NoError(t, ei.Unmarshal(encoded(t, "#{depth => 1}"), &absent))
	require.Equal(t, ei.Some(limits{1, 0}), absent, "what is absent has no defaults")

	r := ei.Result[int]{Value: 5, Err: errTooCold}
	require.NoError(t, ei.Unmarshal(encoded(t, "ok"), &r))
	require.Equal(t, ei.Result[int]{}, r)
	r.Value = 6
	require.NoError(t, ei.Unmarshal(encoded(t, "error"), &r))
	require.Zero(t, r.Value)
	var s shape = circle{R: 7}
	require.NoError(t, ei.Unmarshal(encoded(t, "{square,1.0,point}"), &s))
	require.Equal(t, &square{Side: 1, In: point{}}, s)
	var a any = 5
	require.NoError(t, ei.Unmarshal(encoded(t, "x"), &a))
	require.Equal(t, ei.Atom("x"), a)
	e := twice{Exported: &Exported{9}}
	was2 := e.Exported
	require.NoError(t, ei.Unmarshal(encoded(t, "#{e => 3}"), &e))
	require.Equal(t, 3, e.E)
	_ = was2
	arr := [2]int{8, 9}
	require.Error(t, ei.Unmarshal(encoded(t, "[1]"), &arr))
}

func TestDecodeOptionsOfUnmarshal(t *testing.T) {
	refuse := ei.DecodeOptions{RefuseUnknown: true}
	lenient := ei.DecodeOptions{LenientText: true}
	atomText := ei.DecodeOptions{AtomText: true}
	both := ei.DecodeOptions{LenientText: true, AtomText: true}
	type texts = []string
	for _, tt := range []struct {
		name string
		o    ei.DecodeOptions
		text string
		want any // an error: into the type of the next
		into any
	}{
		{"known", refuse, "#{a => 1}", inner{A: 1}, nil},
		{"unknown", refuse, "#{a => 1,c => 1}", ei.ErrUnknownKey, inner{}},
		{"unknown of another kind", refuse, "#{1 => 1}", ei.ErrUnknownKey, inner{}},
		{"unknown within", refuse, "#{lines => [#{x => 1}]}", ei.ErrUnknownKey, quote{}},
		{"the name of a struct", refuse, "#{'__struct__' => 'Elixir.A',name => nil}", elixirStruct{}, nil},
		{"the name of a struct not due", refuse, "#{'__struct__' => 'Elixir.A'}", ei.ErrUnknownKey, inner{}},
		{"property", refuse, "[{x,1}]", ei.ErrUnknownKey, props{}},
		{"bare atom", refuse, "[x]", ei.ErrUnknownKey, props{}},
		{"second of a property", refuse, "[flag,{flag,false}]", props{Flag: true}, nil},
		{"maps know all keys", refuse, "#{x => 1}", map[ei.Atom]int{"x": 1}, nil},

		{"charlist", lenient, "[26085,26412]", "日本", nil},
		{"Latin-1 as characters", lenient, "[233]", "é", nil},
		{"mixed", lenient, `["a",<<"é"/utf8>>,[233|<<"z">>]]`, "aééz", nil},
		{"binary as it is", lenient, "<<255>>", "\xff", nil},
		{"bytes are I/O data", lenient, "[233]", []byte{233}, nil},
		{"bytes, no characters", lenient, "[256]", ei.ErrType, []byte{}},
		{"surrogate", lenient, "[16#d800]", ei.ErrType, ""},
		{"beyond", lenient, "[16#110000]", ei.ErrType, ""},
		{"negative", lenient, "[-1]", ei.ErrType, ""},
		{"improper", lenient, "[97|98]", ei.ErrType, ""},
		{"atom", lenient, "a", ei.ErrType, ""},
		{"keys", lenient, "#{[26085] => 1}", map[string]int{"日": 1}, nil},
		{"elements", lenient, "[[26085],<<>>]", texts{"日", ""}, nil},

		{"atom as text", atomText, "'ä b'", "ä b", nil},
		{"atom true", atomText, "true", "true", nil},
		{"atom within I/O data", atomText, "[a]", ei.ErrType, ""},
		{"key", atomText, "#{a => 1}", map[string]int{"a": 1}, nil},
		{"key twice", atomText, `#{a => 1,<<"a">> => 2}`, ei.ErrDuplicate, map[string]int{}},
		{"no bytes", atomText, "a", ei.ErrType, []byte{}},
		{"absent", atomText, "nil", (*string)(nil), nil},
		{"present", atomText, "x", ei.Some("x"), nil},
		{"both", both, "[a,[26085]]", texts{"a", "日"}, nil},
		{"charlist field", atomText, "{ab}", charlists{A: "ab"}, nil},
		{"strict", strict, "#{0.0 => 1,-0.0 => 2}", ei.ErrRefused, ei.Map{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if is, ok := tt.want.(error); ok {
				_, err := readInto(t, tt.o, encoded(t, tt.text), typeOf(tt.into))
				require.ErrorIs(t, err, is)
				return
			}
			got, err := readInto(t, tt.o, encoded(t, tt.text), typeOf(tt.want))
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}
