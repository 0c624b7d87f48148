//go:build unix

package transporttest

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// A framing is the state that a plug-in with frames of up to 16 KiB has for a connection. A frame
// is two bytes of length and that many bytes.
type framing struct {
	In struct {
		Raw  []byte // read from the carrier, and not returned yet
		Left int    // bytes missing of the incoming frame
	}
	Out struct {
		Head []byte // the rest of a frame's length
		Left int    // bytes missing of the outgoing frame
	}
}

// ofEach returns a function that gives the T of each socket, for a plug-in's own state.
func ofEach[T any]() func(*pollSocket) *T {
	var all sync.Map
	return func(s *pollSocket) *T {
		v, _ := all.LoadOrStore(s, new(T))
		return v.(*T)
	}
}

// framed is the plug-in with frames, over cb, the plug-in that polls. lose removes something from
// the state that Export gives.
func framed(cb transport.Callbacks[*pollSocket], lose func(f *framing)) transport.Callbacks[*pollSocket] {
	read, write, imported := cb.Read, cb.Write, cb.Import
	of := ofEach[framing]()
	cb.Read = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
		f := &of(s).In
		within := budget(tmo)
		for {
			if f.Left == 0 && len(f.Raw) >= 2 {
				f.Left, f.Raw = int(binary.BigEndian.Uint16(f.Raw)), f.Raw[2:]
			}
			if n := copy(p, f.Raw[:min(len(f.Raw), f.Left)]); n > 0 {
				f.Raw, f.Left = f.Raw[n:], f.Left-n
				return n, nil
			}
			b := make([]byte, 3000)
			n, err := read(s, b, within())
			if n <= 0 || err != nil {
				return 0, err
			}
			f.Raw = append(f.Raw, b[:n]...)
		}
	}
	cb.Write = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
		f := &of(s).Out
		within := budget(tmo)
		for {
			// Send the rest of a frame together with the beginning of the next one, so that a
			// carrier that is full is so within a frame.
			rest := min(len(p), f.Left)
			frame := append(f.Head[:len(f.Head):len(f.Head)], p[:rest]...)
			var next []byte
			size := min(len(p)-rest, 16<<10)
			if size > 0 {
				next = binary.BigEndian.AppendUint16(nil, uint16(size))
				frame = append(append(frame, next...), p[rest:rest+(size+1)/2]...)
			}
			// sends the part that fits
			n, err := unix.SendmsgN(s.fd, frame, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			if errors.Is(err, unix.EAGAIN) {
				n, err = write(s, frame, within())
			}
			if err != nil {
				return 0, err
			}
			head := min(n, len(f.Head))
			f.Head = f.Head[head:]
			taken := min(n-head, rest)
			f.Left -= taken
			if n -= head + taken; n > 0 {
				head = min(n, len(next))
				f.Head, f.Left = next[head:], size-(n-head)
				taken += n - head
			}
			if taken > 0 {
				return taken, nil
			}
		}
	}
	cb.Export = func(s *pollSocket) ([]byte, error) {
		f := *of(s)
		lose(&f)
		return json.Marshal(f)
	}
	cb.Import = func(setup any, fd int, state []byte) (*pollSocket, error) {
		var f framing
		if state != nil {
			if err := json.Unmarshal(state, &f); err != nil {
				return nil, err
			}
		}
		s, err := imported(setup, fd, nil)
		if err == nil {
			*of(s) = f
		}
		return s, err
	}
	return cb
}

// budget returns a function that tells how much of tmo is left.
func budget(tmo time.Duration) func() time.Duration {
	if tmo == transport.Infinite || tmo == 0 {
		return func() time.Duration { return tmo }
	}
	end := time.Now().Add(tmo)
	return func() time.Duration { return max(time.Until(end), 0) }
}
