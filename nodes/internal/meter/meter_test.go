package meter

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/metrics"
)

// A table tells so many functions apart, each way, and counts the others together.
func TestTable(t *testing.T) {
	var table Table
	for i := range mostFunctions + 10 {
		for _, out := range []bool{false, true} {
			table.Add(&metrics.CallInfo{
				Out: out, Kind: metrics.KindFunction, Module: "m", Function: fmt.Sprint(i), Duration: time.Millisecond, Outcome: metrics.OutcomeOK,
			})
		}
	}
	table.Add(&metrics.CallInfo{Kind: metrics.KindFunction, Module: "m", Function: "0", Duration: time.Hour, Outcome: metrics.OutcomePanicked})
	var others, calls int64
	for _, s := range table.Stats() {
		calls += s.Count()
		if s.Module == metrics.Other {
			others += s.Count()
		}
		if s.Function == "0" && !s.Out {
			require.Equal(t, map[metrics.Outcome]int64{metrics.OutcomeOK: 1, metrics.OutcomePanicked: 1}, s.Outcomes)
			require.EqualValues(t, 1, s.Errors())
			require.Equal(t, time.Hour+time.Millisecond, s.Latency.Sum)
			require.EqualValues(t, 1, s.Latency.Counts[len(s.Latency.Bounds)])
			require.EqualValues(t, 1, s.Latency.Counts[5], "one that takes as long as the bound is in")
		}
	}
	require.EqualValues(t, 2*(mostFunctions+10)+1, calls)
	require.EqualValues(t, 20, others)
}

// Join calls every function of all Hooks, with what it gets, and whatever is nil.
func TestJoin(t *testing.T) {
	var calls []string
	full := func(name string) *metrics.Hooks {
		h := new(metrics.Hooks)
		v := reflect.ValueOf(h).Elem()
		for i := range v.NumField() {
			field := v.Type().Field(i)
			v.Field(i).Set(reflect.MakeFunc(field.Type, func(args []reflect.Value) []reflect.Value {
				calls = append(calls, name+field.Name)
				if field.Type.NumOut() > 0 {
					return []reflect.Value{args[0]}
				}
				return nil
			}))
		}
		return h
	}
	call := func(h *metrics.Hooks) []string {
		calls = nil
		v := reflect.ValueOf(h).Elem()
		for i := range v.NumField() {
			var args []reflect.Value
			for j := range v.Field(i).Type().NumIn() {
				arg := reflect.New(v.Field(i).Type().In(j)).Elem()
				if arg.Type() == reflect.TypeFor[context.Context]() {
					arg.Set(reflect.ValueOf(context.Background()))
				}
				args = append(args, arg)
			}
			v.Field(i).Call(args)
		}
		return calls
	}
	var want, one []string
	for i := range reflect.TypeFor[metrics.Hooks]().NumField() {
		name := reflect.TypeFor[metrics.Hooks]().Field(i).Name
		first, then := "a"+name, "b"+name
		if name == "CallEnded" {
			first, then = then, first
		}
		want, one = append(want, first, then), append(one, "a"+name)
	}
	require.Equal(t, want, call(Join(full("a"), full("b"))))
	require.Equal(t, one, call(Join(full("a"), &metrics.Hooks{})))
	require.Equal(t, one, call(Join(&metrics.Hooks{}, full("a"))))
	require.Equal(t, one, call(Join(full("a"))))
}
