package virtual

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport"
)

// A sluice is a file whose Writes return only while it is open.
type sluice struct {
	open chan struct{} // a token for each Write; closed: for all
	mu   sync.Mutex
	got  bytes.Buffer
	err  error
}

func (g *sluice) Write(p []byte) (int, error) {
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return 0, g.err
	}
	return g.got.Write(p)
}

func (g *sluice) bytes() []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	return bytes.Clone(g.got.Bytes())
}

// Bytes that a file does not take at once wait, in order; and they reach the file without Flush.
func TestCaptureFileTakesItsTime(t *testing.T) {
	g := &sluice{open: make(chan struct{})}
	f := newCaptureFile(g)
	var want []byte
	for i := range 300 {
		b := bytes.Repeat([]byte{byte(i)}, 1000*i%7000+1)
		want = append(want, b...)
		f.write(b)
	}
	require.Empty(t, g.bytes())
	close(g.open)
	require.Eventually(t, func() bool { return bytes.Equal(want, g.bytes()) }, tooLong, time.Millisecond)
	require.NoError(t, f.stop())
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A writer waits for room as long as the file takes something.
func TestCaptureFileWaitsForRoom(t *testing.T) {
	g := &sluice{open: make(chan struct{})}
	f := newCaptureFile(g)
	f.write(make([]byte, captureChunk))
	g.open <- struct{}{} // the first Write has begun
	f.write(make([]byte, captureRoom))
	more := aside(func() error { f.write(make([]byte, captureRoom)); return nil })
	g.open <- struct{}{}
	require.NoError(t, returns(t, more))
	close(g.open)
	require.NoError(t, f.stop())
	require.Len(t, g.bytes(), captureChunk+2*captureRoom)
}

// A file that takes nothing is given up, after whole packets, and does not hold up a writer a
// second time.
func TestCaptureFileTakesNothing(t *testing.T) {
	g := &sluice{open: make(chan struct{})}
	c := NewCapture(g)
	client, server := pair(t, Trace(transport.TCP(), TraceOptions{Capture: c}), loopback())
	drained := aside(func() error {
		for b := make([]byte, 1<<20); ; {
			if _, err := server.Read(t.Context(), b); err != nil {
				return nil
			}
		}
	})
	began := time.Now()
	for range 20 {
		_, err := client.Writev(soon(t), make([]byte, 1<<20))
		require.NoError(t, err)
	}
	require.Less(t, time.Since(began), 20*capturePatient)
	require.NoError(t, client.Close())
	require.NoError(t, returns(t, drained))
	require.ErrorIs(t, returns(t, aside(c.Flush)), errBehind)
	require.ErrorIs(t, returns(t, aside(c.Close)), errBehind)
	close(g.open)
}

// A Flush that waits for a file ends when the file is given up.
func TestCaptureFileGivenUpDuringFlush(t *testing.T) {
	g := &sluice{open: make(chan struct{})}
	f := newCaptureFile(g)
	f.write([]byte("first"))
	flushed := aside(f.flush)
	require.Eventually(t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.buf) == 0
	}, tooLong, time.Millisecond, "the Write has not begun")
	f.write(make([]byte, captureRoom))
	f.write(make([]byte, captureRoom)) // waits for room in vain
	require.ErrorIs(t, returns(t, flushed), errBehind)
	close(g.open) // it stays given up: there is a gap
	f.drain()
	f.write([]byte("last"))
	require.ErrorIs(t, f.stop(), errBehind)
	require.Equal(t, "first", string(g.bytes()))
}

// The first error of the file is that of the capture.
func TestCaptureFileFails(t *testing.T) {
	g := &sluice{open: make(chan struct{}), err: errors.New("no space")}
	close(g.open)
	c := NewCapture(g)
	require.ErrorIs(t, c.Flush(), g.err)
	require.ErrorIs(t, c.Close(), g.err)
	require.ErrorIs(t, c.Flush(), g.err)
	require.ErrorIs(t, c.Close(), g.err)
}

// Bytes reach the file soon even if others keep coming.
func TestCaptureFileOfTrickle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &sluice{open: make(chan struct{})}
		close(g.open)
		f := newCaptureFile(g)
		for range 4 {
			f.write([]byte("x"))
			time.Sleep(captureDelay / 2)
		}
		require.NotEmpty(t, g.bytes())
		require.NoError(t, f.stop())
	})
}

// Nothing is written behind a gap.
func TestCaptureFileEndsWhereItFails(t *testing.T) {
	failure, begun, open, writes := errors.New("no space"), make(chan struct{}), make(chan struct{}), 0
	f := newCaptureFile(writerFunc(func(p []byte) (int, error) {
		if writes++; writes == 1 {
			close(begun)
			<-open
			return 0, failure
		}
		return len(p), nil
	}))
	f.write(make([]byte, captureChunk))
	<-begun
	f.write([]byte("behind"))
	close(open)
	require.ErrorIs(t, f.stop(), failure)
	f.out.Lock() // until the Write has returned
	defer f.out.Unlock()
	require.Equal(t, 1, writes)
}
