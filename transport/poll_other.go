//go:build !unix

package transport

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	canWait = false
)

// A sleeper cannot be made where descriptors cannot be duplicated into the poller; New refuses plug-ins that would need one.
type sleeper struct {
	raw     syscall.RawConn
	in, out direction
}

func newSleeper(int) (*sleeper, error)              { return nil, errors.ErrUnsupported }
func (w *sleeper) close()                           {}
func (w *sleeper) reading() *direction              { return &w.in }
func (w *sleeper) writing() *direction              { return &w.out }
func (w *sleeper) rawConn() syscall.RawConn         { return w.raw }
func (w *sleeper) prepare(bool) error               { return nil }
func (w *sleeper) look(bool) bool                   { return false }
func (w *sleeper) lookAway(bool)                    {}
func (w *sleeper) sit(bool, *seats) bool            { return false }
func (w *sleeper) doze(time.Duration, *atomic.Bool) {}
func (w *sleeper) stir()                            {}
func (w *sleeper) connected(context.Context) error  { return errors.ErrUnsupported }
func kernelPending(syscall.RawConn) (int, error)    { return 0, nil }
