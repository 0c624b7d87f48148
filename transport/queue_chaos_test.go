//go:build unix

package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/queue"
)

// Writers side by side, their contexts ending at any time, while the queue is held, moved to
// another carrier and let go.
func TestQueueChaos(t *testing.T) {
	for round, end := 0, time.Now().Add(time.Second); time.Now().Before(end); round++ {
		slow := round%2 == 0
		limit := []int{1, 3000, 300_000, 1 << 20}[round/2%4]
		k := newGrantCarrier(slow, 1+rand.IntN(200_000))
		var mu sync.RWMutex // guards q
		q := newPostQueue(newStream(k, nil, connected), &queue.Options{Limit: limit})
		var before []byte
		stop := make(chan struct{})
		var helpers, wg sync.WaitGroup
		helpers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				mu.RLock()
				k := k
				mu.RUnlock()
				k.set(func() { k.room = min(k.room+1+rand.IntN(100_000), 200_000) })
				time.Sleep(time.Duration(rand.IntN(60)) * time.Microsecond)
			}
		})
		helpers.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(rand.IntN(300)) * time.Microsecond):
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(3000))*time.Microsecond)
				err := q.Hold(ctx)
				cancel()
				if err != nil {
					continue
				}
				if rand.IntN(3) > 0 {
					q.Unhold()
					continue
				}
				held := q.Held()
				nk := newGrantCarrier(slow, 1+rand.IntN(200_000))
				nq := newPostQueue(newStream(nk, nil, connected), &queue.Options{Limit: limit})
				if err := nq.Stage(context.Background(), held); err != nil {
					panic(err)
				}
				old := q
				mu.Lock()
				before = append(before, k.got...)
				k, q = nk, nq
				mu.Unlock()
				old.End(errMoved)
				if rand.IntN(2) == 0 {
					time.Sleep(50 * time.Microsecond)
				}
				nq.Unhold()
			}
		})
		const writers = 6
		sent := make([][]uint32, writers)
		faults := make(chan string, 1000)
		for w := range writers {
			wg.Go(func() {
				for i := range 60 {
					size := []int{rand.IntN(100), rand.IntN(5000), rand.IntN(100_000), combineMax - 10 + rand.IntN(20)}[rand.IntN(4)]
					m := binary.BigEndian.AppendUint32(nil, uint32(size))
					m = append(m, byte(w))
					m = binary.BigEndian.AppendUint32(m, uint32(i))
					m = append(m, bytes.Repeat([]byte{byte(w + i)}, size)...)
					ctx, cancel := context.Background(), context.CancelFunc(func() {})
					switch rand.IntN(4) {
					case 0:
						ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(500))*time.Microsecond)
					case 1:
						ctx = NoWait()
					}
					mu.RLock()
					q := q
					mu.RUnlock()
					n, err := sendsEither(ctx, q, m, rand.IntN(2) == 0, []queue.How{0, queue.Now, queue.More, queue.Now | queue.More}[rand.IntN(4)])
					cancel()
					switch {
					case err != nil && !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) && !errors.Is(err, errMoved) &&
						!errors.Is(err, ErrQueueFull):
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
		k.set(func() { k.room = 1 << 30 })
		require.NoError(t, q.Flush(soon(t)))
		require.Empty(t, faults)
		got := make([][]uint32, writers)
		for rest := append(before, k.got...); len(rest) > 0; {
			size, w, i := int(binary.BigEndian.Uint32(rest)), int(rest[4]), binary.BigEndian.Uint32(rest[5:])
			require.Less(t, w, writers)
			require.GreaterOrEqual(t, len(rest), 9+size, "not whole")
			require.True(t, bytes.Equal(bytes.Repeat([]byte{byte(w + int(i))}, size), rest[9:9+size]))
			got[w] = append(got[w], i)
			rest = rest[9+size:]
		}
		for w := range writers {
			require.True(t, slices.Equal(sent[w], got[w]), "round %d writer %d sent %v, there came %v", round, w, sent[w], got[w])
		}
		q.mu.Lock()
		require.Zero(t, q.now)
		require.Zero(t, q.given)
		require.Empty(t, q.awaited)
		require.Equal(t, q.posted, q.sent)
		q.mu.Unlock()
		if time.Until(end) < 0 {
			t.Log(round, "rounds")
		}
	}
}
