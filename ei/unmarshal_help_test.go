package ei_test

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

// requireUnmarshals checks that unmarshal stores want in a new value of its type.
func requireUnmarshals(t *testing.T, want any, unmarshal func(v any) error) {
	t.Helper()
	v := reflect.New(reflect.TypeOf(want))
	require.NoError(t, unmarshal(v.Interface()), "%T", want)
	require.Equal(t, want, v.Elem().Interface())
}

func typeOf(v any) reflect.Type { return reflect.TypeOf(v) }

// typedPointer gives a pointer to a new value of the type of v, pointee what it points to.
func typedPointer(v any) any { return reflect.New(reflect.TypeOf(v)).Interface() }
func pointee(v any) any      { return reflect.ValueOf(v).Elem().Interface() }
