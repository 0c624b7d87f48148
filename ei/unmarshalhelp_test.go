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
