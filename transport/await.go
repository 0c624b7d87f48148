package transport

import (
	"context"
	"os"
)

// An awaiter is a socket whose operations wait. usable is nil while it is open, else the reason why it is not.
type awaiter interface{ usable() error }

func (s *socket[C]) await(ctx context.Context, d *direction, ready func(uintptr) bool, once, notReady *bool) error {
	return await(ctx, s, d, ready, once, notReady)
}

// await calls ready under the poller until it returns true, ctx ends or s is closed. once and notReady belong to ready: with once set
// it never asks to wait.
func await(ctx context.Context, s awaiter, d *direction, ready func(uintptr) bool, once, notReady *bool) error {
	single := IsNoWait(ctx)
	cancellable := ctx.Done() != nil
	if cancellable {
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	*once = single || cancellable // look before watching the context, which costs more
	if err := d.park(ready); err != nil {
		return parkError(s, err)
	}
	if !*once || !*notReady {
		return nil
	}
	if single {
		return os.ErrDeadlineExceeded
	}
	*once, *notReady = false, false
	if err := d.parkUnder(ctx, ready); err != nil {
		return parkError(s, err)
	}
	return nil
}

func parkError(s awaiter, err error) error {
	if u := s.usable(); u != nil {
		return u
	}
	return err
}
