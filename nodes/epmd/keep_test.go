package epmd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// restartable is a port mapper that can go away and come back, each time without memory. It works
// in a synctest bubble.
type restartable struct {
	mu     sync.Mutex
	l      *pipeListener
	s      *Server
	served chan error
}

func (r *restartable) start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.l, r.s, r.served = newPipeListener(), &Server{}, make(chan error, 1)
	go func(s *Server, l net.Listener, served chan error) { served <- s.Serve(l) }(r.s, r.l, r.served)
}

func (r *restartable) stop() {
	r.mu.Lock()
	s, served := r.s, r.served
	r.mu.Unlock()
	s.Close()
	<-served
}

func (r *restartable) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	r.mu.Lock()
	l := r.l
	r.mu.Unlock()
	return l.Dial(ctx, network, addr)
}

// restarting runs a test in a bubble with such a port mapper, and a client without descriptors.
func restarting(t *testing.T, test func(t *testing.T, mapper *restartable, c *Client)) {
	synctest.Test(t, func(t *testing.T) {
		mapper := new(restartable)
		mapper.start()
		test(t, mapper, &Client{Addr: "127.0.0.1:4369", Dial: mapper.dial})
	})
}

// heard is an event and the time at which it came.
type heard struct {
	KeepEvent
	at time.Duration
}

func TestKeepRegistersAgain(t *testing.T) {
	restarting(t, func(t *testing.T, mapper *restartable, c *Client) {
		var events []heard
		var log bytes.Buffer
		start := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		k, err := c.Keep(ctx, Registration{Name: "abc", Port: 7}, &KeepOptions{
			MinPause: time.Second, MaxPause: 5 * time.Second,
			Notify: func(e KeepEvent) { events = append(events, heard{e, time.Since(start)}) },
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		require.NoError(t, err)
		cancel() // bounds the first registration only
		first := k.Creation()
		require.NoError(t, k.Err())

		time.Sleep(10 * time.Second)
		mapper.stop()
		synctest.Wait()
		require.ErrorIs(t, k.Err(), ErrLost)

		time.Sleep(14 * time.Second) // attempts after 1, 2, 4 and 5 seconds fail
		synctest.Wait()
		require.ErrorIs(t, k.Err(), ErrNoPortMapper)
		mapper.start()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.NoError(t, k.Err())
		require.Equal(t, first, k.Creation())

		type brief struct {
			at      time.Duration
			attempt int
			pause   time.Duration
		}
		var got []brief
		for _, e := range events {
			got = append(got, brief{e.at, e.Attempt, e.Pause})
		}
		s := time.Second
		require.Equal(t, []brief{
			{10 * s, 0, 1 * s},
			{11 * s, 1, 2 * s},
			{13 * s, 2, 4 * s},
			{17 * s, 3, 5 * s},
			{22 * s, 4, 5 * s},
			{27 * s, 5, 0},
		}, got)
		require.ErrorIs(t, events[0].Err, ErrLost)
		require.ErrorIs(t, events[1].Err, ErrNoPortMapper)
		require.NotZero(t, events[5].Creation)
		require.NotEqual(t, first, events[5].Creation, "a port mapper without memory gives another one")
		require.Equal(t, 5, bytes.Count(log.Bytes(), []byte("level=WARN")))
		require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("level=INFO")))

		mapper.stop()
		mapper.start()
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		require.NoError(t, k.Err())
		require.Len(t, events, 8)
		require.Equal(t, s, events[6].Pause, "pauses begin anew after a registration that lasted")

		resolve(t, c, "abc")
		require.NoError(t, k.Close())
		require.ErrorIs(t, k.Err(), net.ErrClosed)
		synctest.Wait()
		_, err = c.Resolve(t.Context(), "", "abc")
		require.ErrorIs(t, err, ErrNotRegistered)
		require.NoError(t, k.Close())
		mapper.stop()
	})
}

func TestKeepReportsThatTheNameWasTaken(t *testing.T) {
	restarting(t, func(t *testing.T, mapper *restartable, c *Client) {
		events := make(chan KeepEvent, 100)
		k := keep(t, c, Registration{Name: "abc", Port: 7}, &KeepOptions{Notify: func(e KeepEvent) { events <- e }})
		mapper.stop()
		require.ErrorIs(t, (<-events).Err, ErrLost)
		mapper.start()
		thief := register(t, c, Registration{Name: "abc", Port: 8})
		e := <-events
		require.Equal(t, 1, e.Attempt)
		require.ErrorIs(t, e.Err, ErrNameTaken)
		require.NoError(t, thief.Close())
		for e = range events {
			if e.Err == nil {
				break
			}
		}
		require.NoError(t, k.Close())
		mapper.stop()
	})
}

// A port mapper that drops each registration at once must not be asked without end.
func TestKeepSlowsDownWhenRegistrationsDoNotLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c := &Client{Addr: "127.0.0.1:4369", Dial: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			asked++
			go func() {
				readRequest(theirs)
				io.WriteString(theirs, "v\x00\x00\x00\x00\x07")
				theirs.Close()
			}()
			return ours, nil
		}}
		k := keep(t, c, Registration{Name: "abc", Port: 7}, nil)
		time.Sleep(time.Minute)
		require.NoError(t, k.Close())
		// 0.1 + 0.2 + ... + 3.2 seconds, then every 5.
		require.Equal(t, 1+6+10, asked)
	})
}

// No pause is longer than MaxPause; a MaxPause below MinPause counts as MinPause.
func TestKeepPausesWithinItsBounds(t *testing.T) {
	for _, tt := range []struct{ least, most, during, last time.Duration }{{7, 1, 20, 7}, {2, 3, 7, 3}} {
		restarting(t, func(t *testing.T, mapper *restartable, c *Client) {
			var pauses []time.Duration
			k := keep(t, c, Registration{Name: "abc", Port: 7}, &KeepOptions{
				MinPause: tt.least * time.Second, MaxPause: tt.most * time.Second,
				Notify: func(e KeepEvent) { pauses = append(pauses, e.Pause/time.Second) },
			})
			mapper.stop()
			time.Sleep(tt.during * time.Second)
			require.NoError(t, k.Close())
			require.Equal(t, []time.Duration{tt.least, tt.last, tt.last}, pauses)
		})
	}
}

func TestKeepCloseInterruptsAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mapper restartable
		mapper.start()
		hang := false
		trying := make(chan struct{})
		c := &Client{Addr: "127.0.0.1:4369", Timeout: -1, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if hang {
				close(trying)
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return mapper.dial(ctx, network, addr)
		}}
		k := keep(t, c, Registration{Name: "abc", Port: 7}, &KeepOptions{Notify: func(e KeepEvent) {
			require.ErrorIs(t, e.Err, ErrLost, "an attempt that Close breaks off has not failed")
		}})
		hang = true
		mapper.stop()
		<-trying
		require.NoError(t, k.Close())
	})
}

// A halves is a connection whose directions end one by one. It works in a synctest bubble.
type halves struct {
	net.Conn // to read from
	w        net.Conn
}

func (h halves) Write(p []byte) (int, error)        { return h.w.Write(p) }
func (h halves) SetWriteDeadline(t time.Time) error { return h.w.SetWriteDeadline(t) }
func (h halves) CloseWrite() error                  { return h.w.Close() }
func (h halves) Close() error                       { return errors.Join(h.Conn.Close(), h.w.Close()) }

// Close gives a port mapper time to see the end of the registration, but only a little.
func TestKeepCloseWaitsForThePortMapper(t *testing.T) {
	for _, tt := range []struct {
		name string
		sees time.Duration // how long the port mapper takes to see the end
		lost bool          // before Close
		want time.Duration
	}{
		{"at once", 0, false, 0},
		{"soon", 70 * time.Millisecond, false, 70 * time.Millisecond},
		{"hanging", time.Hour, false, 100 * time.Millisecond},
		{"gone", 0, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				lose, over := make(chan struct{}), make(chan struct{})
				c := &Client{Addr: "127.0.0.1:4369", Dial: func(context.Context, string, string) (net.Conn, error) {
					in, theirsOut := net.Pipe()
					theirsIn, out := net.Pipe()
					theirs := halves{theirsIn, theirsOut}
					go func() {
						defer close(over)
						defer theirs.Close()
						readRequest(theirs)
						io.WriteString(theirs, "v\x00\x00\x00\x00\x07")
						if tt.lost {
							<-lose
							return
						}
						io.Copy(io.Discard, theirs)
						select {
						case <-time.After(tt.sees):
						case <-ctx.Done():
						}
					}()
					return halves{in, out}, nil
				}}
				k := keep(t, c, Registration{Name: "abc", Port: 7}, &KeepOptions{MinPause: time.Hour})
				close(lose)
				synctest.Wait()
				require.Equal(t, tt.lost, k.Err() != nil)
				begin := time.Now()
				require.NoError(t, k.Close())
				require.Equal(t, tt.want, time.Since(begin))
				require.ErrorIs(t, k.Err(), net.ErrClosed)
				require.NotErrorIs(t, k.Err(), ErrLost)
				require.NoError(t, k.Close())
				cancel()
				<-over
			})
		})
	}
}

// Absent may start a port mapper, and then need not wait for the next attempt.
func TestKeepAbsent(t *testing.T) {
	restarting(t, func(t *testing.T, mapper *restartable, c *Client) {
		var asked []time.Duration
		registered := make(chan time.Time, 1)
		k := keep(t, c, Registration{Name: "abc", Port: 7}, &KeepOptions{
			MinPause: time.Second, MaxPause: time.Hour,
			Notify: func(e KeepEvent) {
				if e.Err == nil {
					registered <- time.Now()
				}
			},
			Absent: func(since time.Duration) bool {
				if asked = append(asked, since); since < 5*time.Second {
					return false
				}
				mapper.start()
				return true
			},
		})
		mapper.stop()
		synctest.Wait()
		lost := time.Now()
		require.Equal(t, 7*time.Second, (<-registered).Sub(lost))
		require.Equal(t, []time.Duration{time.Second, 3 * time.Second, 7 * time.Second}, asked)
		require.NoError(t, k.Close())
		mapper.stop()
	})
}
