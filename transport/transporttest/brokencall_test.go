//go:build linux

package transporttest

import (
	"errors"
	"reflect"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// A brokenCall is a call of a function that a mutant has broken. do calls the good one.
type brokenCall[C any] struct {
	m    *mess
	c    C
	p    []byte         // of Read and Write
	addr transport.Addr // of Connect; with Accept, the peer
	tmo  time.Duration

	n        int
	accepted C
	err      error
	over     bool // do does nothing
	do       func()
}

type (
	tcpCall  = brokenCall[int]
	pollCall = brokenCall[*pollSocket]
)

func (o *brokenCall[C]) runs(broken func(*brokenCall[C]), good func()) {
	o.do = func() {
		if !o.over {
			good()
		}
	}
	broken(o)
}

// gives has the call return without the good function.
func (o *brokenCall[C]) gives(n int) { o.n, o.over = n, true }

func (o *brokenCall[C]) fails(err error) { o.err, o.over = err, true }

// turns replaces an error.
func (o *brokenCall[C]) turns(in, out error) {
	if errors.Is(o.err, in) {
		o.err = out
	}
}

// leavesGoroutine has a goroutine last as long as the test.
func (m *mess) leavesGoroutine() { go func() { <-m.release }() }

func onRead[C any](broken func(o *brokenCall[C])) func(*mess, *transport.Callbacks[C]) {
	return func(m *mess, cb *transport.Callbacks[C]) {
		read := cb.Read
		cb.Read = func(c C, p []byte, tmo time.Duration) (int, error) {
			o := &brokenCall[C]{m: m, c: c, p: p, tmo: tmo}
			o.runs(broken, func() { o.n, o.err = read(c, o.p, o.tmo) })
			return o.n, o.err
		}
	}
}

func onWrite[C any](broken func(o *brokenCall[C])) func(*mess, *transport.Callbacks[C]) {
	return func(m *mess, cb *transport.Callbacks[C]) {
		write := cb.Write
		cb.Write = func(c C, p []byte, tmo time.Duration) (int, error) {
			o := &brokenCall[C]{m: m, c: c, p: p, tmo: tmo}
			o.runs(broken, func() { o.n, o.err = write(c, o.p, o.tmo) })
			return o.n, o.err
		}
	}
}

func onAccept[C any](broken func(o *brokenCall[C])) func(*mess, *transport.Callbacks[C]) {
	return func(m *mess, cb *transport.Callbacks[C]) {
		accept := cb.Accept
		cb.Accept = func(c C, tmo time.Duration) (C, transport.Addr, error) {
			o := &brokenCall[C]{m: m, c: c, tmo: tmo}
			o.runs(broken, func() { o.accepted, o.addr, o.err = accept(c, o.tmo) })
			return o.accepted, o.addr, o.err
		}
	}
}

func onConnect[C any](broken func(o *brokenCall[C])) func(*mess, *transport.Callbacks[C]) {
	return func(m *mess, cb *transport.Callbacks[C]) {
		connect := cb.Connect
		cb.Connect = func(c C, to transport.Addr, tmo time.Duration) error {
			o := &brokenCall[C]{m: m, c: c, addr: to, tmo: tmo}
			o.runs(broken, func() { o.err = connect(c, o.addr, o.tmo) })
			return o.err
		}
	}
}

// hangs has a function wait for the end of the test.
func hangs(name string) func(*mess, *tcp) {
	return func(m *mess, cb *tcp) {
		f := reflect.ValueOf(cb).Elem().FieldByName(name)
		f.Set(reflect.MakeFunc(f.Type(), func([]reflect.Value) (results []reflect.Value) {
			<-m.release
			for i := range f.Type().NumOut() {
				results = append(results, reflect.Zero(f.Type().Out(i)))
			}
			err := error(unix.EIO)
			results[len(results)-1] = reflect.ValueOf(&err).Elem()
			return results
		}))
	}
}
