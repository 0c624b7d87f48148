//go:build !unix

package await

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	CanWait = false
)

// A sleeper cannot be made where descriptors cannot be duplicated into the poller; New refuses
// plug-ins that would need one.
type sleeper struct {
	raw     syscall.RawConn
	in, out direction
}

func newSleeper(int) (*sleeper, error)               { return nil, errors.ErrUnsupported }
func (w *sleeper) close()                            {}
func (w *sleeper) reading() *direction               { return &w.in }
func (w *sleeper) writing() *direction               { return &w.out }
func (w *sleeper) rawConn() syscall.RawConn          { return w.raw }
func (w *sleeper) prepare(bool) error                { return nil }
func (w *sleeper) restFirst() error                  { return nil }
func (w *sleeper) look(bool) bool                    { return false }
func (w *sleeper) lookAway(bool)                     {}
func (w *sleeper) block(bool, *threadWaits) bool     { return false }
func (w *sleeper) pause(time.Duration, *atomic.Bool) {}
func (w *sleeper) wake()                             {}
func (w *sleeper) connected(context.Context) error   { return errors.ErrUnsupported }
func pending(int) (int, error)                       { return 0, nil }
