package epmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/internal/hush"
)

// With a fake clock: exactly the packet timeout, however many bytes come in it, and none for
// registrations.
func TestServerPacketTimeout(t *testing.T) {
	for _, timeout := range []time.Duration{0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			want := timeout
			if timeout == 0 {
				want = 60 * time.Second
			}
			l := newPipeListener()
			serve(t, &Server{PacketTimeout: timeout}, l)
			mute, slow, held, refused := pipeTo(t, l), pipeTo(t, l), pipeTo(t, l), pipeTo(t, l)
			start := time.Now()
			for _, conn := range []net.Conn{held, refused} {
				write(t, conn, framed(string(alive2("abc", ""))))
				_, err := io.ReadFull(conn, make([]byte, 6))
				require.NoError(t, err)
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := mute.Read(make([]byte, 1))
				assert.ErrorIs(t, err, io.EOF)
				assert.Equal(t, want, time.Since(start))
			})
			wg.Go(func() {
				for _, b := range framed("n")[:2] {
					time.Sleep(want / 3)
					_, err := slow.Write([]byte{b})
					assert.NoError(t, err)
				}
				_, err := slow.Read(make([]byte, 1))
				assert.ErrorIs(t, err, io.EOF)
				assert.Equal(t, want, time.Since(start))
			})
			wg.Wait()

			time.Sleep(24 * time.Hour)
			synctest.Wait()
			for _, conn := range []net.Conn{held, refused} {
				require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Second)))
				_, err := conn.Read(make([]byte, 1))
				require.NotErrorIs(t, err, io.EOF, "a registration has no timeout")
				conn.Close()
			}
			mute.Close()
			slow.Close()
		})
	}
}

// A client that asks and does not read is cut off, and delays nobody.
func TestServerWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		serve(t, &Server{}, l)
		stuck := pipeTo(t, l)
		write(t, stuck, framed("n"))
		synctest.Wait()
		start := time.Now()
		_, _, err := (&Client{Addr: "127.0.0.1:4369", Dial: l.Dial}).Names(t.Context(), "")
		require.NoError(t, err)
		require.Zero(t, time.Since(start))

		time.Sleep(defaultPacketTimeout)
		synctest.Wait()
		n, err := stuck.Read(make([]byte, 100))
		require.Zero(t, n)
		require.ErrorIs(t, err, io.EOF)
		stuck.Close()
	})
}

// A freeze waits for connections without a name, whether they send no request or do not read the
// answer, but not for long.
func TestServerFreezeGivesTheNamelessAMoment(t *testing.T) {
	for _, tt := range []struct {
		name, rest string // what happens to a request meanwhile
		want       time.Duration
	}{
		{"nothing asked", "", askGrace},
		{"asked and read", "zabc", 0},
		{"registered", string(alive2("b", "")), 0},
		{"asked and not read", "n", askGrace},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newPipeListener()
				s := &Server{}
				serve(t, s, l)
				r := register(t, &Client{Addr: "127.0.0.1:4369", Dial: l.Dial}, Registration{Name: "abc", Port: 1})
				defer r.Close()
				conn := pipeTo(t, l)
				defer conn.Close()
				synctest.Wait()
				start := time.Now()
				done := make(chan error, 1)
				go func() {
					_, err := s.Freeze(t.Context())
					done <- err
				}()
				synctest.Wait()
				if tt.rest != "" {
					write(t, conn, framed(tt.rest))
				}
				if tt.want == 0 {
					answer := make([]byte, 100)
					_, err := conn.Read(answer)
					require.NoError(t, err)
					require.Contains(t, "wv", string(answer[0]))
					require.Zero(t, answer[1])
				}
				require.ErrorIs(t, <-done, errors.ErrUnsupported, "pipes have no descriptors")
				// rest may look for a session that ended only 10 ms later
				require.InDelta(t, tt.want, time.Since(start), float64(10*time.Millisecond))
				require.NoError(t, r.Err())
			})
		})
	}
}

func TestShutdownAnswersWhatWasAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		s := &Server{}
		served := serving(s, l)
		c := &Client{Addr: "127.0.0.1:4369", Dial: l.Dial}
		r := register(t, c, Registration{Name: "abc", Port: 1})
		asking := pipeTo(t, l)
		write(t, asking, framed("zabc")[:3])

		down := make(chan error, 1)
		go func() { down <- s.Shutdown(t.Context()) }()
		synctest.Wait()
		require.Empty(t, down, "it waits for the request")
		require.NoError(t, r.Err())
		require.ErrorIs(t, c.Kill(t.Context()), ErrNoPortMapper, "nothing new is accepted")
		write(t, asking, framed("zabc")[3:])
		answer, err := io.ReadAll(asking)
		require.NoError(t, err)
		require.Equal(t, "w\x00", string(answer[:2]))
		require.NoError(t, <-down)
		<-r.Done()
		require.ErrorIs(t, r.Err(), ErrLost)
		require.ErrorIs(t, <-served, ErrServerClosed)
		require.NoError(t, r.Close())
		asking.Close()
	})
}

func TestShutdownGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		s := &Server{}
		served := serving(s, l)
		mute := pipeTo(t, l)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, s.Shutdown(ctx), context.DeadlineExceeded)
		require.ErrorIs(t, <-served, ErrServerClosed)
		_, err := mute.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		mute.Close()
	})
}

func TestServerIsUsedOnce(t *testing.T) {
	var s Server
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.NoError(t, s.Shutdown(t.Context()))
	l := listen(t)
	require.ErrorIs(t, s.Serve(l), ErrServerClosed)
	_, err := l.Accept()
	require.ErrorIs(t, err, net.ErrClosed, "Serve closes the listener in any case")
}

// failingListener fails with each of errs in turn, before it works; for nil it works once.
type failingListener struct {
	net.Listener
	errs []error
}

func (l *failingListener) Accept() (net.Conn, error) {
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		if err != nil {
			return nil, err
		}
	}
	return l.Listener.Accept()
}

func TestServerSurvivesPassingFailures(t *testing.T) {
	l := listen(t)
	windows := os.NewSyscallError("acceptex", syscall.Errno(10024))
	watches := os.NewSyscallError("epoll_ctl", syscall.ENOSPC)
	errs := []error{syscall.EMFILE, fmt.Errorf("accept: %w", syscall.ECONNABORTED), windows, watches, syscall.EPERM, syscall.EPROTO}
	serve(t, &Server{}, &failingListener{l, errs})
	_, _, err := (&Client{Addr: l.Addr().String()}).Names(t.Context(), "")
	require.NoError(t, err)
}

// A server without descriptors does not spin: each pause is twice as long, up to a second, until a
// connection is accepted again.
func TestServerPausesLongerEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := append(slices.Repeat([]error{syscall.EMFILE}, 10), nil, syscall.EMFILE)
		var log bytes.Buffer
		l := newPipeListener()
		serve(t, &Server{Logger: slog.New(slog.NewTextHandler(&log, nil))}, &failingListener{l, errs})
		for _, want := range []time.Duration{5 + 10 + 20 + 40 + 80 + 160 + 320 + 640 + 1000 + 1000, 5} {
			start := time.Now()
			conn := pipeTo(t, l)
			defer conn.Close()
			require.Equal(t, want*time.Millisecond, time.Since(start))
		}
		synctest.Wait()
		require.Equal(t, 11, strings.Count(log.String(), "cannot accept connections for now"))
		require.Equal(t, 2, strings.Count(log.String(), "pause=5ms"))
	})
}

// Connections that take each free descriptor at once do not fill the log.
func TestServerSaysAFewTimesThatItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const visits = 100 // in half a second
		errs := make([]error, 2*visits)
		for i := range visits {
			errs[2*i] = syscall.EMFILE
		}
		var log bytes.Buffer
		l := newPipeListener()
		serve(t, &Server{Logger: slog.New(slog.NewTextHandler(&log, nil))}, &failingListener{l, errs})
		for range visits {
			conn := pipeTo(t, l)
			require.NoError(t, conn.Close())
		}
		synctest.Wait()
		require.Equal(t, hush.PerSecond, strings.Count(log.String(), "cannot accept connections for now"))
	})
}

func TestServerStopsPausingWhenClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := make([]error, 100)
		for i := range errs {
			errs[i] = syscall.EMFILE
		}
		s := &Server{}
		served := serving(s, &failingListener{newPipeListener(), errs})
		time.Sleep(10500 * time.Millisecond) // in the middle of a pause of a second
		start := time.Now()
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-served, ErrServerClosed)
		require.Zero(t, time.Since(start))
	})
}

func TestServerReportsABrokenListener(t *testing.T) {
	l := listen(t)
	s := &Server{}
	broken := errors.New("broken")
	require.ErrorIs(t, s.Serve(&failingListener{l, []error{broken}}), broken)
	require.NoError(t, s.Close())
}
