package virtual

import (
	"cmp"
	"errors"
	"io"
	"sync"
	"time"
)

// A captureFile writes for a Capture, on another goroutine: so a slow file holds up no connection,
// and one that takes nothing holds all of them up once, and not for long.
type captureFile struct {
	w       io.Writer
	out     sync.Mutex    // held while w is written to; locked before mu
	taken   chan struct{} // has a token when there is room again
	givenUp chan struct{} // closed when err becomes errBehind

	mu    sync.Mutex
	buf   []byte
	err   error // the first one, after which nothing is written any more
	timer *time.Timer
	armed bool // timer will run drain
}

const (
	captureDelay   = 200 * time.Millisecond // how long bytes to be written may stay in memory
	captureChunk   = 64 << 10               // from so many bytes on they are written without delay
	captureRoom    = 4 << 20                // how many bytes may wait, at the most
	capturePatient = time.Second            // how long to wait for room
)

// errBehind is the error of a capture whose file takes nothing for a second while more is to be
// captured: a pipe, say, whose reader has stopped. The file ends with a whole packet.
var errBehind = errors.New("the capture's file takes no more data: the capture ends here")

func newCaptureFile(w io.Writer) *captureFile {
	return &captureFile{w: w, taken: make(chan struct{}, 1), givenUp: make(chan struct{})}
}

// write takes b, a whole number of packets, to be written soon. There must be only one call at a
// time.
func (f *captureFile) write(b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil && !f.makeRoom(len(b)) && f.err == nil {
		f.err, f.buf = errBehind, nil
		close(f.givenUp)
	}
	if f.err != nil {
		return
	}
	f.buf = append(f.buf, b...)
	switch {
	case len(f.buf) >= captureChunk && len(f.buf)-len(b) < captureChunk:
		f.drainAfter(0)
	case !f.armed:
		f.drainAfter(captureDelay)
	}
}

// drainAfter makes drain run after d; mu is held.
func (f *captureFile) drainAfter(d time.Duration) {
	f.armed = true
	if f.timer == nil {
		f.timer = time.AfterFunc(d, f.drain)
	} else {
		f.timer.Reset(d)
	}
}

// makeRoom waits for room for n bytes, and reports whether there is any; mu is held, except during
// the wait.
func (f *captureFile) makeRoom(n int) bool {
	if len(f.buf) == 0 || len(f.buf)+n <= captureRoom {
		return true
	}
	late := time.NewTimer(capturePatient)
	defer late.Stop()
	for len(f.buf) > 0 && len(f.buf)+n > captureRoom {
		f.mu.Unlock()
		select {
		case <-f.taken:
			f.mu.Lock()
		case <-late.C:
			f.mu.Lock()
			return len(f.buf) == 0
		}
	}
	return true
}

// flush writes what there is, and waits for w, unless w has been given up: a Write that does not
// come back is left behind. It returns the first error.
func (f *captureFile) flush() error {
	if err := f.failed(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { defer close(done); f.drain() }()
	select {
	case <-done:
	case <-f.givenUp:
	}
	return f.failed()
}

func (f *captureFile) failed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// drain writes what there is.
func (f *captureFile) drain() {
	f.out.Lock()
	defer f.out.Unlock()
	for b := f.take(); len(b) > 0; b = f.take() {
		n, err := f.w.Write(b)
		if err == nil && n < len(b) {
			err = io.ErrShortWrite
		}
		f.mu.Lock()
		f.err = cmp.Or(f.err, err)
		f.mu.Unlock()
	}
}

// take returns what is to be written, and makes room. After an error there is nothing.
func (f *captureFile) take() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.buf
	f.buf, f.armed = nil, false
	select {
	case f.taken <- struct{}{}:
	default:
	}
	if f.err != nil {
		return nil
	}
	return b
}

// stop writes the rest.
func (f *captureFile) stop() error {
	err := f.flush()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.timer != nil {
		f.timer.Stop()
	}
	return err
}
