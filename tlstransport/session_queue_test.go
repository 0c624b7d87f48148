package tlstransport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/transport"
)

// A queue over TLS, whose senders write on their own goroutines: contexts end in the middle of
// writes, the queue is held and released, and the reader's contexts end in the middle of packets;
// the reader is slow, and is paused. Exactly the packets that the callers were told are sent
// arrive, whole and in order.
func TestQueueOverTLS(t *testing.T) {
	a := newAuthority(t, "an authority")
	messages := 20
	if testing.Short() {
		messages = 8
	}
	for _, k := range kinds {
		for _, plain := range []bool{false, true} {
			cfg := restrict(a.mutual(t), k.version, k.suite)
			o := Options{Plain: plain, HandshakeTimeout: tooLong}
			if !plain {
				o.keyUpdateRecords, o.keyUpdateBytes = 50, 1_000_000
			}
			tr, err := New(Config{Server: cfg, Client: cfg, Options: o})
			require.NoError(t, err)
			limit, end := context.WithTimeout(context.Background(), 2*time.Minute)
			l, err := tr.Listen(loopback(t), 10)
			require.NoError(t, err)
			c, err := tr.Connect(limit, l.Addr())
			require.NoError(t, err)
			s, err := l.Accept(limit)
			require.NoError(t, err)
			q := c.Posts(&queue.Options{Limit: 200_000})
			stop := make(chan struct{})
			var helpers, wg sync.WaitGroup
			helpers.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(time.Duration(rand.IntN(1000)) * time.Microsecond):
					}
					ctx, cancel := context.WithTimeout(limit, time.Duration(rand.IntN(3000))*time.Microsecond)
					if q.Hold(ctx) == nil {
						q.Unhold()
					}
					cancel()
					if s.PauseRead(limit) == nil {
						s.Resume()
					}
				}
			})
			const writers = 5
			sent, got := make([][]uint32, writers), make([][]uint32, writers)
			faults := make(chan string, 1000)
			reads := make(chan struct{})
			go func() {
				defer close(reads)
				for {
					head, step := make([]byte, 9), 0
					var body []byte
					ctx, cancel := limit, context.CancelFunc(func() {})
					if rand.IntN(3) == 0 {
						ctx, cancel = context.WithTimeout(limit, time.Duration(rand.IntN(3000))*time.Microsecond)
					}
					_, err := s.ReadPDU(ctx, func() ([][]byte, error) {
						switch step++; step {
						case 1:
							return [][]byte{head[:4], head[4:]}, nil
						case 2:
							body = make([]byte, binary.BigEndian.Uint32(head))
							return [][]byte{body}, nil
						}
						return nil, nil
					})
					cancel()
					if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) && limit.Err() == nil {
						continue
					}
					if err != nil {
						if err.Error() != "EOF" {
							faults <- err.Error()
						}
						return
					}
					w, i := int(head[4]), binary.BigEndian.Uint32(head[5:])
					if w == 255 {
						return
					}
					if w >= writers || !bytes.Equal(body, bytes.Repeat([]byte{byte(w + int(i))}, len(body))) {
						faults <- "no message"
						return
					}
					got[w] = append(got[w], i)
					if rand.IntN(50) == 0 {
						time.Sleep(3 * time.Millisecond)
					}
				}
			}()
			message := func(w, i, size int) []byte {
				m := append(binary.BigEndian.AppendUint32(nil, uint32(size)), byte(w))
				m = binary.BigEndian.AppendUint32(m, uint32(i))
				return append(m, bytes.Repeat([]byte{byte(w + i)}, size)...)
			}
			for w := range writers {
				wg.Go(func() {
					for i := range messages {
						m := message(w, i, []int{1 + rand.IntN(100), rand.IntN(5000) + 1, 1 + rand.IntN(100_000), rand.IntN(1_500_000) + 1}[rand.IntN(4)])
						ctx, cancel := limit, context.CancelFunc(func() {})
						switch rand.IntN(4) {
						case 0:
							ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(2000))*time.Microsecond)
						case 1:
							ctx = transport.NoWait()
						}
						n, err := int64(len(m)), error(nil)
						if rand.IntN(2) == 0 {
							if err = q.Post(ctx, m[:7], m[7:], []queue.How{0, queue.Now, queue.More, queue.Now | queue.More}[rand.IntN(4)]); err != nil {
								n = 0
							}
						} else {
							n, err = q.Deliver(ctx, m[:5], m[5:])
						}
						cancel()
						clear(m)
						switch {
						case err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) &&
							!errors.Is(err, transport.ErrQueueFull):
							faults <- err.Error()
						case n == int64(len(m)):
							sent[w] = append(sent[w], uint32(i))
						case n != 0 || err == nil:
							faults <- "a count that is neither all nor nothing"
						}
					}
				})
			}
			wg.Wait()
			close(stop)
			helpers.Wait()
			require.NoError(t, q.Post(limit, message(255, 0, 1), nil, 0))
			require.NoError(t, q.Flush(limit))
			<-reads
			require.Empty(t, faults, len(faults))
			for w := range writers {
				require.True(t, slices.Equal(sent[w], got[w]), "writer %d sent %v, there came %v", w, sent[w], got[w])
			}
			n, _ := q.Buffered()
			require.Zero(t, n)
			require.NoError(t, c.Close())
			require.NoError(t, s.Close())
			require.NoError(t, l.Close())
			end()
		}
	}
}
