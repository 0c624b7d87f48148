package front

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/transport/handoff"
)

const (
	heirVariable = "CNODE_TEST_KEEPER_HEIR"      // network address of its listeners, | between them; the last is the workers' path
	heirDies     = "CNODE_TEST_KEEPER_HEIR_DIES" // 1: at once; else a point of the hand-off
)

// heirMain is the next process of a Keeper: its channel is descriptor 3. It serves until its
// standard input ends.
func heirMain() int {
	err := func() error {
		ch, err := handoff.FileChannel(os.NewFile(3, "channel"))
		if err != nil {
			return err
		}
		if os.Getenv(heirDies) == "1" {
			return errors.New("does not want to")
		}
		k, err := Take(handoffpoint.With(context.Background(), dieAt(os.Getenv(heirDies))), ch, &Options{Dial: allowAll()})
		if k == nil { // else it serves, whatever has become of the other process
			return err
		}
		_ = ch.Close()
		words := strings.Split(os.Getenv(heirVariable), "|")
		for _, door := range words[:len(words)-1] {
			network, address, _ := strings.Cut(door, " ")
			network, proxy := strings.CutSuffix(network, "+proxy")
			network, ends := strings.CutSuffix(network, "+tls")
			l, err := k.Listen(context.Background(), network, address)
			if err != nil {
				return err
			}
			o := &ServeOptions{Proxy: proxy}
			if ends {
				o.TLS = &tls.Config{Certificates: []tls.Certificate{certificate()}}
			}
			go func() { _ = k.Serve(context.Background(), l, o) }()
		}
		if err := k.Workers(context.Background(), words[len(words)-1]); err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, os.Stdin)
		fmt.Println(k.Stats())
		return k.Close()
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "heir:", err)
		return 1
	}
	return 0
}

// give moves a house to another process, which ends with the test.
func (h *house) give(doors ...string) (handoff.Handed, error) {
	return h.giveTo(append(os.Environ(), heirVariable+"="+strings.Join(append(doors, h.path), "|")))
}

func (h *house) giveTo(env []string) (handoff.Handed, error) {
	ch, theirs, err := handoff.ChannelPair()
	require.NoError(h.t, err)
	defer ch.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.ExtraFiles, cmd.Stderr = env, []*os.File{theirs}, os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(h.t, err)
	require.NoError(h.t, cmd.Start())
	_ = theirs.Close()
	h.t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return h.k.Give(context.Background(), ch)
}

// A front is upgraded under load: nothing is lost, whether a session is with a worker, waits for
// one, or has not begun, and in the next process as here workers can be killed.
func TestUpgrade(t *testing.T) {
	h := newHouse(t, nil, nil)
	p := startWorker(t, h.path, "peek", "")
	proxies, err := h.k.Listen(t.Context(), "tcp", "localhost:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- h.k.Serve(context.Background(), proxies, &ServeOptions{Proxy: true}) }()

	stop := make(chan struct{})
	var wg sync.WaitGroup
	var answers atomic.Int64
	const many = 20
	failed := make(chan error, 2*many)
	goOn := func() bool {
		select {
		case <-stop:
			return false
		default:
			return true
		}
	}
	for range many {
		c := dial(t, h.addr)
		wg.Go(func() {
			for i := 0; goOn(); i++ {
				if _, err := c.ask(fmt.Sprint("line ", i)); err != nil {
					failed <- err
					return
				}
				answers.Add(1)
			}
		})
	}
	wg.Go(func() { // and new ones
		for goOn() {
			c, err := net.Dial("tcp", h.addr)
			if err == nil {
				_, err = dialled(c).ask("new")
				_ = c.Close()
			}
			if err != nil {
				failed <- err
				return
			}
			answers.Add(1)
		}
	})
	further := func() {
		before := answers.Load()
		require.Eventually(t, func() bool { return len(failed) > 0 || answers.Load() > before+10*many }, patience, time.Millisecond)
	}
	late := dial(t, proxies.Addr().String())
	_, err = late.Write([]byte("PROXY TCP4 192.0.2.1 192.0."))
	require.NoError(t, err)
	h.until("it begins", func(s Stats) bool { return s.Beginning == 1 })
	further()
	handed, err := h.give("tcp 127.0.0.1:0", "tcp+proxy localhost:0")
	require.NoError(t, err)
	require.True(t, handed.Moved)
	require.ErrorIs(t, <-served, net.ErrClosed)
	further()
	_, err = late.Write([]byte("2.2 1 2\r\n"))
	require.NoError(t, err)
	require.Contains(t, late.must(t, "who"), "192.0.2.1:1")
	next := startWorker(t, h.path, "peek", "")
	p.kill()
	further()
	_ = next
	close(stop)
	wg.Wait()
	close(failed)
	for err := range failed {
		require.NoError(t, err)
	}
	t.Logf("%d answers; silence %v", answers.Load(), handed.Silence)
}

// A front whose next process does not take over goes on.
func TestUpgradeFails(t *testing.T) {
	h := newHouse(t, nil, nil)
	startWorker(t, h.path, "peek", "")
	c := dial(t, h.addr)
	c.must(t, "before")
	handed, err := h.giveTo(append(os.Environ(), heirVariable+"=x", heirDies+"=1"))
	require.Error(t, err)
	require.False(t, handed.Moved)
	c.must(t, "after")
	dial(t, h.addr).must(t, "new")
}

// Sessions that wait for a worker, and those of a worker whose process is only about to end, move
// with the front.
func TestUpgradeParked(t *testing.T) {
	h := newHouse(t, nil, nil)
	p := startWorker(t, h.path, "peek", "")
	served, fresh := dial(t, h.addr), dial(t, h.addr)
	served.must(t, "one")
	h.until("both are there", func(s Stats) bool { return s.Workers[0].Sessions == 2 })
	p.kill()
	h.until("both wait", func(s Stats) bool { return s.Parked == 2 })
	handed, err := h.give("tcp 127.0.0.1:0")
	require.NoError(t, err)
	require.True(t, handed.Moved)
	startWorker(t, h.path, "peek", "")
	served.must(t, "two")
	fresh.must(t, "one")
}

// Listeners that were asked for with the same words are told apart by their order, and so are the
// clients that have begun there.
func TestUpgradeSameWords(t *testing.T) {
	h := newHouse(t, nil, nil)
	startWorker(t, h.path, "peek", "", "NAME=w")
	const words = "tcp 127.0.0.1:0" // as the house's own has them
	doors := []string{words}
	addrs := []string{h.addr}
	late := map[int]*client{}
	for i := 1; i < 8; i++ {
		l, err := h.k.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		o := &ServeOptions{Proxy: i%2 == 1}
		go func() { _ = h.k.Serve(context.Background(), l, o) }()
		addrs = append(addrs, l.Addr().String())
		if !o.Proxy {
			doors = append(doors, words)
			continue
		}
		doors = append(doors, "tcp+proxy 127.0.0.1:0")
		late[i] = dial(t, addrs[i])
		_, err = late[i].Write([]byte("PROXY TCP4 192.0.2.1 192.0."))
		require.NoError(t, err)
	}
	h.until("all begin", func(s Stats) bool { return s.Beginning == len(late) })
	handed, err := h.give(doors...)
	require.NoError(t, err)
	require.True(t, handed.Moved)
	for i, addr := range addrs {
		c, own := dial(t, addr), ""
		if i%2 == 1 {
			_, err := fmt.Fprintf(c, "PROXY TCP4 192.0.2.7 192.0.2.2 %d 2\r\n", i)
			require.NoError(t, err)
			own = fmt.Sprintf("w 192.0.2.7:%d ", i)
		} else {
			own = fmt.Sprintf("w %s ", c.LocalAddr())
		}
		require.Contains(t, c.must(t, "who"), own)
	}
	for i, c := range late {
		_, err := fmt.Fprintf(c, "2.2 %d 2\r\n", i)
		require.NoError(t, err)
		require.Contains(t, c.must(t, "who"), fmt.Sprintf("w 192.0.2.1:%d ", i))
	}
}
