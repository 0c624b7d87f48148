package expect

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// A Returned is what a call has returned.
type Returned[T any] struct {
	value T
	err   error
}

// NoError is for a call that must succeed: NoError(call()).In(t) is what it gives.
func NoError[T any](value T, err error) Returned[T] { return Returned[T]{value, err} }

// In fails t if the call has failed.
func (r Returned[T]) In(t require.TestingT) T {
	if h, ok := t.(interface{ Helper() }); ok {
		h.Helper()
	}
	require.NoError(t, r.err)
	return r.value
}

// Err is the error alone.
func Err[T any](_ T, err error) error { return err }

// Err2 is the error alone.
func Err2[T, U any](_ T, _ U, err error) error { return err }

// An Opened is what a call has opened.
type Opened[T io.Closer] struct {
	value T
	err   error
}

// Open is for a call that must open something: Open(call()).In(t) is that, and closes it at the end
// of the test.
func Open[T io.Closer](value T, err error) Opened[T] { return Opened[T]{value, err} }

// In fails t if the call has failed.
func (o Opened[T]) In(t testing.TB) T {
	t.Helper()
	require.NoError(t, o.err)
	t.Cleanup(func() { _ = o.value.Close() })
	return o.value
}

// As is the T that err has to be, or to wrap.
func As[T error](t require.TestingT, err error) T {
	if h, ok := t.(interface{ Helper() }); ok {
		h.Helper()
	}
	var e T
	require.ErrorAs(t, err, &e)
	return e
}

// Aside runs an operation in another goroutine, and gives its error.
func Aside(op func() error) <-chan error {
	c := make(chan error, 1)
	go func() { c <- op() }()
	return c
}
