package tsockettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/remains"
	"github.com/cnode-go/cnode/transport/tsocket"
)

// rules are the contract of a tsocket.Socket.
func rules() []rule {
	return []rule{
		{"Datagram", "A datagram arrives whole, with its sender's address, which can be answered.", exchange},
		{"Boundaries", "Datagrams are neither joined nor split, whatever their sizes, and nothing is put beyond one.", boundaries},
		{"EmptySend", "To send an empty datagram is EINVAL.", emptySend},
		{"EmptyBuffer", "To receive into an empty buffer is EINVAL, and takes no datagram.", emptyBuffer},
		{"ShortBuffer", "A datagram longer than the buffer is an error, io.ErrShortBuffer, beside what fits; the next one is whole.",
			shortBuffer},
		{"SendersBuffer", "The buffer is the sender's again when SendTo returns, with the bytes that it had.", sendersBuffer},
		{"NoDestination", "To send to nowhere, not connected, is EDESTADDRREQ.", noDestination},
		{"NoWait", "A single try receives what has come, and is a time-out at once when nothing has.", noWait},
		{"Deadline", "A receive whose time is over ends with its context's error; the socket goes on.", deadline},
		{"Cancel", "A cancelled receive ends at once with its context's error; the socket goes on.", cancels},
		{"CancelSend", "A send that waits for room ends at once with its context's error when that ends; the socket goes on.",
			cancelSend},
		{"EndedContext", "With a context that has ended nothing is sent or received.", endedContext},
		{"Busy", "A second receive is ErrBusy, and the first one goes on.", busy},
		{"BothWays", "A receive that waits does not hinder a send.", bothWays},
		{"DisconnectBusy", "Disconnect beside a receive that waits is ErrBusy, and leaves it alone.", disconnectBusy},
		{"Disconnect", "After Disconnect all is ENOTCONN; the other end goes on.", disconnect},
		{"Close", "Close succeeds, once and again; later use is net.ErrClosed.", closes},
		{"CloseEndsReceive", "Close ends a receive that waits at once with net.ErrClosed.", closeEndsReceive},
		{"LeakedDescriptors", "Close and Disconnect free the descriptors, also of a socket that has waited.", leaks},
	}
}

func exchange(d *trial) error {
	for _, way := range [][2]tsocket.Socket{{d.one, d.other}, {d.other, d.one}, {d.one, d.other}} {
		if err := d.says(way[0], way[1], "a few words"); err != nil {
			return err
		}
	}
	if err := d.send(d.one, []byte("question"), d.other.LocalAddr()); err != nil {
		return err
	}
	_, sender, err := d.other.RecvFrom(d.ctx, make([]byte, 100))
	if err != nil {
		return err
	}
	if err := d.send(d.other, []byte("answer"), sender); err != nil {
		return err
	}
	return d.receive(d.one, []byte("answer"), d.other)
}

func boundaries(d *trial) error {
	sizes := []int{1, 2, 100, 1000, 1}
	for i, n := range sizes {
		if err := d.send(d.one, contents(i, n), d.other.LocalAddr()); err != nil {
			return err
		}
	}
	for i, n := range sizes {
		const untouched = 0xa5
		buf := bytes.Repeat([]byte{untouched}, 2000)
		k, _, err := d.other.RecvFrom(d.ctx, buf[:1500])
		if err != nil {
			return fmt.Errorf("RecvFrom: %w", err)
		}
		if k != n {
			return fmt.Errorf("a datagram of %d bytes came as one of %d", n, k)
		}
		if !bytes.Equal(buf[:n], contents(i, n)) {
			return fmt.Errorf("a datagram of %d bytes came as another one", n)
		}
		if bytes.Count(buf[n:], []byte{untouched}) != len(buf)-n {
			return fmt.Errorf("RecvFrom of %d bytes wrote beyond them", n)
		}
	}
	return nil
}

func emptySend(d *trial) error {
	for _, p := range [][]byte{nil, {}} {
		if _, err := d.one.SendTo(d.ctx, p, d.other.LocalAddr()); !errors.Is(err, syscall.EINVAL) {
			return fmt.Errorf("SendTo of nothing gave %w, not EINVAL", orNone(err))
		}
	}
	return d.says(d.one, d.other, "something")
}

func emptyBuffer(d *trial) error {
	if err := d.send(d.one, []byte("kept"), d.other.LocalAddr()); err != nil {
		return err
	}
	if _, _, err := d.other.RecvFrom(d.ctx, nil); !errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("RecvFrom into an empty buffer gave %w, not EINVAL", orNone(err))
	}
	return d.receive(d.other, []byte("kept"), d.one)
}

func shortBuffer(d *trial) error {
	for _, words := range []string{"longer than the buffer", "whole"} {
		if err := d.send(d.one, []byte(words), d.other.LocalAddr()); err != nil {
			return err
		}
	}
	p := []byte("12345678")
	n, _, err := d.other.RecvFrom(d.ctx, p[:4])
	if !errors.Is(err, io.ErrShortBuffer) {
		return fmt.Errorf("RecvFrom of 22 bytes into 4 gave %d and %w, not io.ErrShortBuffer", n, orNone(err))
	}
	if n < 0 || n > 4 || string(p[4:]) != "5678" || string(p[:n]) != "long"[:n] {
		return fmt.Errorf("RecvFrom of 22 bytes into 4 counted %d and left %q", n, p)
	}
	return d.receive(d.other, []byte("whole"), d.one)
}

func sendersBuffer(d *trial) error {
	p := make([]byte, 100)
	for i := range 5 {
		copy(p, contents(i, len(p)))
		if err := d.send(d.one, p, d.other.LocalAddr()); err != nil {
			return err
		}
		if !bytes.Equal(p, contents(i, len(p))) {
			return errors.New("SendTo has changed its caller's bytes")
		}
		clear(p)
	}
	for i := range 5 {
		if err := d.receive(d.other, contents(i, len(p)), d.one); err != nil {
			return err
		}
	}
	return nil
}

func noDestination(d *trial) error {
	if a := d.one.RemoteAddr(); a != nil {
		return fmt.Errorf("RemoteAddr of a socket that is not connected is %v", a)
	}
	if _, err := d.one.SendTo(d.ctx, []byte("x"), nil); !errors.Is(err, syscall.EDESTADDRREQ) {
		return fmt.Errorf("SendTo to nil gave %w, not EDESTADDRREQ", orNone(err))
	}
	return d.says(d.one, d.other, "somewhere")
}

func noWait(d *trial) error {
	p := make([]byte, 10)
	for range 2 {
		if n, _, err := d.one.RecvFrom(transport.NoWait(), p); !isTimeout(err) {
			return fmt.Errorf("RecvFrom with NoWait, when nothing had come, gave %d and %w, not a time-out", n, orNone(err))
		}
	}
	if err := d.send(d.other, []byte("now"), d.one.LocalAddr()); err != nil {
		return err
	}
	for end := time.Now().Add(d.patience); ; time.Sleep(time.Millisecond) {
		n, _, err := d.one.RecvFrom(transport.NoWait(), p)
		switch {
		case err == nil && string(p[:n]) == "now":
			return nil
		case !isTimeout(err):
			return fmt.Errorf("RecvFrom with NoWait gave %d bytes and %w", n, orNone(err))
		case time.Now().After(end):
			return errors.New("RecvFrom with NoWait never receives what has been sent")
		}
	}
}

func deadline(d *trial) error {
	const short = 20 * time.Millisecond
	for range 2 {
		began := time.Now() // before the context, whose time runs from then on
		ctx, cancel := context.WithTimeout(d.ctx, short)
		defer cancel()
		err := d.ends("RecvFrom", d.patience, func() error { _, _, err := d.one.RecvFrom(ctx, make([]byte, 10)); return err })
		if !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("RecvFrom with a deadline, in place of the context's error: %w", orNone(err))
		}
		if time.Since(began) < short {
			return errors.New("RecvFrom timed out too early")
		}
		if err := d.says(d.other, d.one, "after a time-out"); err != nil {
			return err
		}
	}
	return nil
}

func cancels(d *trial) error {
	for range 3 {
		ctx, cancel := context.WithCancel(d.ctx)
		wait := d.aside("RecvFrom", func() error { _, _, err := d.one.RecvFrom(ctx, make([]byte, 10)); return err })
		time.Sleep(time.Millisecond) // by now it waits, most likely
		cancel()
		if err := wait(); !errors.Is(err, context.Canceled) {
			return fmt.Errorf("a cancelled RecvFrom, in place of the context's error: %w", orNone(err))
		}
		if err := d.says(d.other, d.one, "after a cancelled receive"); err != nil {
			return err
		}
	}
	return nil
}

// cancelSend sends until a send waits for room, which some sockets do not let it do. Its
// time ends; then another send is cancelled.
func cancelSend(d *trial) error {
	to, p := d.other.LocalAddr(), contents(1, 1000)
	ctx, cancel := context.WithTimeout(d.ctx, 200*time.Millisecond)
	defer cancel()
	var err error
	for i := 0; i < 600 && err == nil; i++ {
		err = d.ends("a SendTo with a deadline", d.patience, func() error { _, err := d.one.SendTo(ctx, p, to); return err })
	}
	switch {
	case errors.Is(err, errHung):
		return err
	case !errors.Is(err, context.DeadlineExceeded):
		return nil // there was room for all, or an error says that there is none (ENOBUFS)
	}
	ctx, cancel = context.WithCancel(d.ctx)
	wait := d.aside("a cancelled SendTo", func() error { _, err := d.one.SendTo(ctx, p, to); return err })
	time.Sleep(time.Millisecond) // by now it waits, most likely
	cancel()
	if err := wait(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("a cancelled SendTo, in place of the context's error: %w", err)
	}
	for end := time.Now().Add(d.patience); time.Now().Before(end); {
		const last = "the last one"
		if heard, err := d.drain(last); heard || err != nil {
			return err
		}
		err := d.ends("a SendTo after those that were ended", d.patience, func() error { return d.send(d.one, []byte(last), to) })
		if err != nil {
			return err
		}
	}
	return errors.New("what is sent after sends that were ended never arrives")
}

// drain receives what has come to d.other, up to last, and reports whether that has come.
func (d *trial) drain(last string) (heard bool, err error) {
	for p := make([]byte, 2000); !heard; {
		ctx, cancel := context.WithTimeout(d.ctx, moment)
		n, _, err := d.other.RecvFrom(ctx, p)
		cancel()
		if err != nil && d.ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("RecvFrom: %w", err)
		}
		heard = string(p[:n]) == last
	}
	return heard, nil
}

func endedContext(d *trial) error {
	ctx, cancel := context.WithCancel(d.ctx)
	cancel()
	if _, err := d.one.SendTo(ctx, []byte("never"), d.other.LocalAddr()); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("SendTo with an ended context gave %w", orNone(err))
	}
	if err := d.send(d.one, []byte("the first"), d.other.LocalAddr()); err != nil {
		return err
	}
	if _, _, err := d.other.RecvFrom(ctx, make([]byte, 100)); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("RecvFrom with an ended context gave %w", orNone(err))
	}
	return d.receive(d.other, []byte("the first"), d.one)
}

// first sends a datagram to a receive that waits on d.one, and requires the receive to succeed.
func (d *trial) first(wait func() error) error {
	if err := d.send(d.other, []byte("for the first"), d.one.LocalAddr()); err != nil {
		return err
	}
	if err := wait(); err != nil {
		return fmt.Errorf("the first RecvFrom gave %w", err)
	}
	return nil
}

func busy(d *trial) error {
	wait, err := d.begun(d.ctx)
	if err != nil {
		return err
	}
	return d.first(wait)
}

func bothWays(d *trial) error {
	wait, err := d.begun(d.ctx)
	if err != nil {
		return err
	}
	err = d.ends("SendTo beside a RecvFrom that waits", d.patience, func() error { return d.says(d.one, d.other, "the other direction") })
	if err != nil {
		return err
	}
	return d.first(wait)
}

func disconnectBusy(d *trial) error {
	wait, err := d.begun(d.ctx)
	if err != nil {
		return err
	}
	if err := d.one.Disconnect(); !errors.Is(err, transport.ErrBusy) {
		return fmt.Errorf("a Disconnect beside a RecvFrom that waits gave %w, not ErrBusy", orNone(err))
	}
	if err := d.first(wait); err != nil {
		return err
	}
	return d.one.Disconnect()
}

// uses tries all operations on d.one, which has ended, and requires each to give the error want.
func (d *trial) uses(want error) error {
	if _, _, err := d.one.RecvFrom(d.ctx, make([]byte, 10)); !errors.Is(err, want) {
		return fmt.Errorf("RecvFrom gave %w, not %w", orNone(err), want)
	}
	if _, err := d.one.SendTo(d.ctx, []byte("x"), d.other.LocalAddr()); !errors.Is(err, want) {
		return fmt.Errorf("SendTo gave %w, not %w", orNone(err), want)
	}
	if err := d.one.Disconnect(); !errors.Is(err, want) {
		return fmt.Errorf("a Disconnect gave %w, not %w", orNone(err), want)
	}
	return nil
}

func disconnect(d *trial) error {
	if err := d.one.Disconnect(); err != nil {
		return fmt.Errorf("a first Disconnect: %w", err)
	}
	if err := d.uses(syscall.ENOTCONN); err != nil {
		return fmt.Errorf("after Disconnect %w", err)
	}
	if err := d.send(d.other, []byte("to itself"), d.other.LocalAddr()); err != nil {
		return fmt.Errorf("at the other end: %w", err)
	}
	return d.receive(d.other, []byte("to itself"), d.other)
}

func closes(d *trial) error {
	for range 2 {
		if err := d.one.Close(); err != nil {
			return fmt.Errorf("a Close: %w", err)
		}
		if err := d.uses(net.ErrClosed); err != nil {
			return fmt.Errorf("after Close %w", err)
		}
	}
	return nil
}

func closeEndsReceive(d *trial) error {
	wait, err := d.begun(context.Background())
	if err != nil {
		return err
	}
	if err := d.ends("Close", d.patience, d.one.Close); err != nil {
		return fmt.Errorf("a Close: %w", err)
	}
	if err := wait(); !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("a RecvFrom that waited gave %w when the socket was closed, not net.ErrClosed", orNone(err))
	}
	return nil
}

// leaks opens and closes sockets, in three batches, and looks for descriptors of each batch
// that stay.
func leaks(d *trial) error {
	if remains.Descriptors() == nil {
		return nil // they cannot be counted here
	}
	var batches []func() (int, string)
	for range 3 {
		left := remains.Fresh()
		for range rounds {
			one, other, err := d.factory()
			if err != nil {
				return fmt.Errorf("the factory failed: %w", err)
			}
			for _, s := range []tsocket.Socket{one, other} { // a wait makes what it needs
				ctx, cancel := context.WithTimeout(d.ctx, time.Millisecond)
				_, _, _ = s.RecvFrom(ctx, make([]byte, 1))
				cancel()
			}
			if err := errors.Join(one.Disconnect(), one.Close(), other.Close()); err != nil {
				return err
			}
		}
		if n, _ := left(); n < many {
			return nil
		}
		batches = append(batches, left)
	}
	sample, stays := remains.Stay(batches, many, d.patience)
	if !stays {
		return nil
	}
	return fmt.Errorf("of every %d times that sockets were opened and closed, %d descriptors or more remain, such as %s",
		rounds, many, sample)
}
