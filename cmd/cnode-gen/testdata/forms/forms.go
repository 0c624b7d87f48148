// Package forms has the forms of Go types that are hard to say in Elixir.
package forms

import (
	"encoding/json"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
	"github.com/cnode-go/cnode/nodes"
)

// Base is embedded, and hidden in part.
type Base struct {
	ID   int
	Name string
	Note *string
}

// Extra may be missing.
type Extra struct {
	Weight int
	Name   string
}

// A Page is generic.
type Page[T any] struct {
	Items []T
	Next  *T
}

// Level has many values.
type Level string

const (
	Emergency Level = "emergency"
	Alert     Level = "alert"
	Critical  Level = "critical"
	Error     Level = "error"
	Warning   Level = "warning"
	Notice    Level = "notice"
	Info      Level = "info"
	Debug     Level = "debug"
	Trace     Level = "trace"
)

// Var, Bool, NonemptyList and Keyword have names of types that Elixir has.
type (
	Var          struct{ V int }
	Bool         struct{ B *bool }
	NonemptyList struct{ L []int }
	Keyword      struct{ K int }
)

// Empty has no fields.
type Empty struct{}

// Nothing is a struct of Elixir without fields.
type Nothing struct {
	_ struct{} `ei:"struct=Elixir.Forms.Nothing"`
}

// Row is a record.
type Row struct {
	_     struct{} `ei:"tuple=row"`
	Key   string
	Value *int
}

// All has what is hard.
type All struct {
	Base
	*Extra
	Name      string
	Ints      Page[int]
	Texts     Page[string]
	Var       Var
	Bool      *Bool
	List      NonemptyList
	Keyword   Keyword
	Pair      [2]int
	Grid      [2][3]float64
	Hash      [16]byte
	Many      [100]int
	Point     [2]int `ei:",tuple"`
	Anonymous struct {
		A, B int
		C    *struct{ D *int }
	}
	Empty            Empty
	None             struct{}
	Done             ei.Result[struct{}]
	Got              ei.Result[*int]
	Rows             []Row
	ByName           map[string]*Row
	Deep             [][]map[string]*int
	Ready            struct{ A *int } `ei:"ready?"`
	Big              struct{ B *int } `ei:"BIG"`
	Options          elixir.Keyword[*int]
	Maybe            ei.Optional[ei.Optional[Row]]
	Level            Level  `ei:",atom"`
	Level2           *Level `ei:",atom"`
	URL              string `ei:"URL"`
	Ключ             int
	Count            int `ei:",omitempty"`
	Left             Row `ei:",omitempty"`
	Same             *Same
	FieldOfALongName map[string]map[string]map[string]ei.Result[*NonemptyList]
}

// Same is sent as the struct of Elixir, and All in it as a map.
type Same struct {
	_    struct{} `ei:"struct=Elixir.Forms.Same"`
	ID   int
	Note *string
	Base Base
	Rest []*Row `ei:",omitempty"`
	Next *Same
}

// Nils tells that nothing is nil.
type Nils struct {
	_    struct{} `ei:"nil"`
	Note *string
	Each []*string
	Bool *Bool
}

// These are no terms.
type (
	Unit   struct{ Wait time.Duration }
	NoUnit struct {
		Wait int `ei:",ms"`
	}
	Decoder struct{ D json.Decoder }
	At      struct{ T time.Time }
	Double  struct {
		A, B int `ei:"a"`
	}
	Option struct {
		A int `ei:",oops"`
	}
	Inner  struct{ X struct{ C chan int } }
	Number struct {
		A int `ei:",atom"`
	}
	NoTuple struct {
		A int `ei:",tuple"`
	}
	Ambiguous struct {
		Base
		Extra
	}
)

// Setup exposes what gives, and takes, them.
func Setup(n *nodes.Node) {
	n.Expose("forms", "absent", nodes.FuncOf(func() *int { return nil }))
	n.Expose("forms", "all", nodes.FuncOf(func(a All) All { return a }))
	n.Expose("forms", "row", nodes.FuncOf(row))
	n.Expose("forms", "find", nodes.FuncOf(func(name string) (Row, bool) { return Row{}, false }))
	n.Expose("forms", "anonymous", nodes.FuncOf(func(o struct{ A *int }) struct{ B *int } { return struct{ B *int }{o.A} }))
	n.Expose("forms", "a_function_of_many_parameters", nodes.FuncOf(func(first, second, third, fourth, fifth string, rows map[string]Row) []Page[Row] { return nil }))
	_, _ = n.Serve("rows", nodes.Server{On: map[string]nodes.Func{
		"get":                          nodes.FuncOf(func(key string) *Row { return nil }),
		"a_request_of_many_parameters": nodes.FuncOf(func(first, second, third, fourth, fifth string, rows []Row) []Row { return rows }),
	}}, nil)
}

// row gives it back:
//
//	tabs	too
func row(r Row) Row { return r }
