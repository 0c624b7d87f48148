// Package shop is what the tests of gen read.
package shop

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
	"github.com/cnode-go/cnode/nodes"
)

// A Colour is red or green.
type Colour string

const (
	Red   Colour = "red"
	Green Colour = "light green"
)

// Base is embedded.
type Base struct {
	mu   sync.Mutex
	ID   uint64
	Made *elixir.DateTime
}

// An Item has a key that Elixir keeps for itself.
type Item struct {
	Do    string
	Point Point
}

// A Point is {X, Y}.
type Point struct {
	_    struct{} `ei:"tuple"`
	X, Y float64
}

// Everything has a field of each kind.
type Everything struct {
	Base
	Text    string
	List    string   `ei:",charlist"`
	Atom    string   `ei:",atom"`
	Colour  Colour   `ei:",atom"`
	Colours []Colour `ei:"colours,atom"`
	Bytes   []byte
	Pair    [2]int `ei:",tuple"`
	Items   []Item
	ByName  map[string]*Item
	Wait    time.Duration    `ei:",ms"`
	Maybe   ei.Optional[int] `ei:"maybe?"`
	Outcome ei.Result[string]
	Any     any
	Pid     ei.Pid
	Tags    elixir.MapSet[string]
	Rest    elixir.Keyword[float64]
	Note    *string `ei:"note,omitempty"`
	Left    int     `ei:"-"`
	Parent  *Everything
}

// A User is a record.
type User struct {
	_    struct{} `ei:"tuple=user"`
	Name string
	End  *int
}

// Options are a property list.
type Options struct {
	_       struct{}      `ei:"proplist"`
	Timeout time.Duration `ei:"timeout,s"`
	Verbose bool
}

// Doc is as JSON is.
type Doc struct {
	_    struct{} `ei:"keys=binary"`
	Name string
}

// List is not list().
type List struct{ Next *List }

// Wrong has a key that is none.
type Wrong struct {
	A string `ei:"#{x}"`
}

// Sent cannot be.
type Sent struct {
	C chan int
}

type till struct{}

// Pay pays "it" \ #{now},
// in two lines.
func (*till) Pay(ctx context.Context, order int, of ...Colour) (bool, error) { return false, nil }

// Find finds "quoted"
func (*till) Find(string, Tree) (User, bool) { return User{}, false }

const module = "shop"

// Setup exposes, and serves.
func Setup(n *nodes.Node) error {
	n.Expose(module, "upper", nodes.FuncOf(func(s string) string { return s }))
	n.Expose("other shop", "upper", nodes.FuncOf(func(options Options, end User, l List) {}))
	n.Expose(module, "raw", func(context.Context, []ei.Term) (any, error) { return nil, nil })
	var unknown any = strconv.Itoa
	n.Expose(module, "unknown", nodes.FuncOf(unknown))
	n.Expose(module, "bare", nodes.FuncOf(func(context.Context, []ei.Term) (any, error) { return nil, nil }))
	for i := range 3 {
		n.Expose(module, "n"+strconv.Itoa(i), nodes.FuncOf(strconv.Itoa))
	}
	if err := n.ExposeMethods("till", &till{}); err != nil {
		return err
	}
	on := map[string]nodes.Func{}
	_, _ = n.Serve("hidden", nodes.Server{On: on}, nil)
	_, _ = n.Serve("counter", newCounter(), nil)
	_, err := n.Serve("server", nodes.Server{On: map[string]nodes.Func{
		"stop": nodes.FuncOf(func() {}), "when": nodes.FuncOf(func(node ei.Atom, d Doc) *Item { return nil }),
		"": nodes.FuncOf(func(request ei.Term) any { return request }),
	}}, nil)
	return err
}

// A Tree is made of trees.
type Tree []Tree

// newCounter counts "quoted"
func newCounter() nodes.Server {
	count := 0
	return nodes.Server{On: map[string]nodes.Func{"add": nodes.FuncOf(func(by int) int { count += by; return count })}}
}
