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

// A framing is what a plug-in that carries frames of up to 16 KiB has to know of a connection: each is two bytes of length and that many
// bytes.
type framing struct {
	In struct {
		Raw  []byte // has been read, and nobody has taken it
		Left int    // of the frame that comes
	}
	Out struct {
		Head []byte // the rest of a length
		Left int    // of the frame that goes out
	}
}

// ofEach keeps something of the plug-in's own for each socket.
func ofEach[T any]() func(*pollSocket) *T {
	var all sync.Map
	return func(s *pollSocket) *T {
		v, _ := all.LoadOrStore(s, new(T))
		return v.(*T)
	}
}

// framed is the plug-in, over cb, the one that polls. lose takes something out of what Export gives.
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
			// The rest of a frame goes together with the beginning of the next one: however the carrier fills up, it does so inside one.
			rest := min(len(p), f.Left)
			frame := append(f.Head[:len(f.Head):len(f.Head)], p[:rest]...)
			var next []byte
			size := min(len(p)-rest, 16<<10)
			if size > 0 {
				next = binary.BigEndian.AppendUint16(nil, uint16(size))
				frame = append(append(frame, next...), p[rest:rest+(size+1)/2]...)
			}
			n, err := unix.SendmsgN(s.fd, frame, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL) // a part of it, where that fits
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

// budget tells, again and again, how much of a time is left.
func budget(tmo time.Duration) func() time.Duration {
	if tmo == transport.Infinite || tmo == 0 {
		return func() time.Duration { return tmo }
	}
	end := time.Now().Add(tmo)
	return func() time.Duration { return max(time.Until(end), 0) }
}
