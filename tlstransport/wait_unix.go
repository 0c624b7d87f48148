//go:build unix && !linux

package tlstransport

import (
	"os"
	"syscall"
	"time"
)

// canPoll says that a reader can try again and again without the Go poller waking up beside it for every arrival.
const canPoll = false

// A place is where a wire waits: the socket itself, in the Go poller. It owns the socket.
type place struct {
	file *os.File
	raw  syscall.RawConn
}

func newPlace(sock int) (*place, error) {
	p := &place{file: os.NewFile(uintptr(sock), "tls")}
	err := p.file.SetDeadline(time.Time{}) // fails where it cannot be watched
	if err == nil {
		p.raw, err = p.file.SyscallConn()
	}
	return p, err
}

// awaitRead calls try whenever something may have come, until it is true or the deadline has passed.
func (p *place) awaitRead(try func(uintptr) bool) error { return p.raw.Read(try) }

// awaitWrite is the same for room.
func (p *place) awaitWrite(try func(uintptr) bool) error { return p.raw.Write(try) }

func (p *place) needWriter() error                  { return nil }
func (p *place) dropWriter()                        {}
func (p *place) setReadDeadline(t time.Time) error  { return p.file.SetReadDeadline(t) }
func (p *place) setWriteDeadline(t time.Time) error { return p.file.SetWriteDeadline(t) }
func (p *place) look(bool) bool                     { return false }
func (p *place) close() error                       { return p.file.Close() }
func nap(time.Duration)                             {}
