package ei_test

import (
	"reflect"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// marshal gives what Marshal does, decode what Decode does, and appended what Append does after
// nothing.
func marshal(t require.TestingT, v any) []byte {
	b, err := ei.Marshal(v)
	require.NoError(t, err, "%T", v)
	return b
}

func decode(t require.TestingT, b []byte) ei.Term {
	v, err := ei.Decode(b)
	require.NoError(t, err, "%q", b)
	return v
}

func appended(t require.TestingT, v any) []byte {
	b, err := ei.Append(nil, v)
	require.NoError(t, err, "%T", v)
	return b
}

// textOf gives what a value becomes in Erlang's text.
func textOf(t require.TestingT, v any) string { return ei.Raw(appended(t, v)).String() }

func typeOf(v any) reflect.Type { return reflect.TypeOf(v) }

// typedPointer gives a pointer to a new value of the type of v, pointee what it points to.
func typedPointer(v any) any { return reflect.New(reflect.TypeOf(v)).Interface() }
func pointee(v any) any      { return reflect.ValueOf(v).Elem().Interface() }
