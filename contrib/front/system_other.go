//go:build !linux

package front

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/cnode-go/cnode/transport/handoff"
)

const supported = false

func duplicate(syscall.Conn) (int, error)                  { return -1, errors.ErrUnsupported }
func duplicateFD(int) (int, error)                         { return -1, errors.ErrUnsupported }
func endedEmpty(int) bool                                  { return false }
func halfClosed(int) bool                                  { return false }
func closeFD(int)                                          {}
func resetFD(int)                                          {}
func look(int) (counters, bool, error)                     { return counters{}, false, errors.ErrUnsupported }
func unread(int) (int, error)                              { return 0, errors.ErrUnsupported }
func discard(int, int64) error                             { return errors.ErrUnsupported }
func peek(syscall.RawConn, []byte, func(int) bool) error   { return errors.ErrUnsupported }
func readFD(int, []byte) (int, bool)                       { return 0, false }
func streamPair() (here *net.UnixConn, there int, e error) { return nil, -1, errors.ErrUnsupported }
func packetPair() (here *net.UnixConn, there int, e error) { return nil, -1, errors.ErrUnsupported }
func exited(*os.File) bool                                 { return false }
func untaken(syscall.RawConn) bool                         { return true }
func processOf(syscall.Conn, handoff.Cred) *os.File        { return nil }
func awaitEnd(*os.File) error                              { return errors.ErrUnsupported }
func connOf(int) (*net.UnixConn, error)                    { return nil, errors.ErrUnsupported }

func writeCounted(syscall.RawConn, []byte, *sync.Mutex, *int64) (int, error) {
	return 0, errors.ErrUnsupported
}
func readCounted(syscall.RawConn, []byte, *sync.Mutex, *int64) (int, error) {
	return 0, errors.ErrUnsupported
}
func awaitHangup(syscall.RawConn) {}
func hungUp(syscall.RawConn) bool { return true }

func trySendRights(syscall.RawConn, []byte, int) (int, error) { return 0, errors.ErrUnsupported }
func trySend(syscall.RawConn, []byte) (int, error)            { return 0, errors.ErrUnsupported }
func awaitRoom(syscall.RawConn) error                         { return errors.ErrUnsupported }
