package transport

import (
	"time"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// interrupt ends the call in flight, and perhaps that in the other direction, by Interrupt or else
// by shutdown(2), if either is possible.
func (d *side[C]) interrupt() {
	if d.s.canInterrupt() {
		_ = d.s.guard("Interrupt", d.callInterrupt)
	} else if d.s.fd >= 0 {
		sys.Shutdown(d.s.fd)
	}
}

// callInterrupt calls Interrupt, for this direction alone if the plug-in can do that.
func (d *side[C]) callInterrupt() error {
	d.s.asked.Add(1)
	if d.s.cb.InterruptOne != nil {
		d.s.cb.InterruptOne(d.s.c, d.writing)
	} else {
		d.s.cb.Interrupt(d.s.c)
	}
	return nil
}

// prod calls Interrupt, never twice at once, on a goroutine of its own, for Interrupt may not come
// back.
func (d *side[C]) prod() {
	if d.halting.CompareAndSwap(false, true) {
		go func() {
			defer d.halting.Store(false)
			_ = d.s.guardBeside("Interrupt", d.callInterrupt)
		}()
	}
}

// interruptUntil ends the call in flight, again and again until it has returned, or limit fires; by
// shutdown(2), if it comes to that, only after grace.
func (d *side[C]) interruptUntil(done <-chan struct{}, limit <-chan time.Time, grace time.Time) (ending interruption, returned bool) {
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		d.giveUp.Store(true)
		if !d.isSliced() && !time.Now().Before(grace) {
			if !d.s.canInterrupt() {
				d.cut.Store(true)
			}
			ending.start(d.interrupt)
		}
		select {
		case <-done:
			return ending, true
		case <-again.C:
		case <-limit:
			return ending, false
		}
	}
}

// An interruption runs Interrupt on a goroutine of its own, for Interrupt may not come back.
type interruption struct {
	done  chan struct{}
	since time.Time
}

func (i *interruption) running() bool {
	if i.done == nil {
		return false
	}
	select {
	case <-i.done:
		return false
	default:
		return true
	}
}

// over waits until Interrupt has come back, or limit fires, and reports whether it has come back.
func (i *interruption) over(limit <-chan time.Time) bool {
	if i.done == nil {
		return true
	}
	select {
	case <-i.done:
		return true
	case <-limit:
		return false
	}
}

func (i *interruption) start(interrupt func()) {
	if i.running() {
		return
	}
	done := make(chan struct{})
	i.done, i.since = done, time.Now()
	go func() {
		defer close(done)
		interrupt()
	}()
}
