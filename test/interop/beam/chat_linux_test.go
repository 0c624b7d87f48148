package beam

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/otp"
)

//go:embed testdata/chat.erl
var chatErl string

//go:embed testdata/chat.ex
var chatEx string

// The chats of the page on sessions, as printed, while they are killed.
func TestChat(t *testing.T) {
	t.Run("erlang", func(t *testing.T) {
		otp.Each(t, func(t *testing.T, r otp.Release) {
			h := newHouse(t, r)
			chats(t, h, func() *worker {
				n := r.Start(t, otp.Options{Local: true, ExtraArgs: []string{"-pa", h.ebin}})
				n.Load(t, chatErl)
				require.Equal(t, "ok", n.Do(t, fmt.Sprintf(`{ok, _} = application:ensure_all_started(cnode),
					{ok, _} = chat:start_link("%s"), ok`, h.path)))
				return &worker{pid: n.Pid(), wait: n.Kill}
			})
		})
	})
	t.Run("elixir", func(t *testing.T) {
		otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
			h := newFront(t)
			lib := buildElixir(t, e, "telemetry", "thousand_island")
			chats(t, h, func() *worker {
				return serve(t, h, e.Program, append(lib, "-e", chatEx, "-e", fmt.Sprintf(`
					for a <- [:cnode, :thousand_island], do: {:ok, _} = Application.ensure_all_started(a)
					{:ok, _} = MyApp.Chat.start_link(%q)
					Process.sleep(:infinity)`, h.path))...)
			})
		})
	})
}

const (
	guests = 50
	think  = 40 * time.Millisecond // between an answer and the next line: more than a server can push
)

// chats has guests talk, each of which is pushed what the others say, and kills the server. It has
// lines of theirs in the mailboxes, behind pushes.
func chats(t *testing.T, h *house, start func() *worker) {
	w := start()
	c := &crowd{stop: make(chan struct{})}
	var pushed atomic.Int64
	for i := range guests {
		c.all.Go(func() {
			for visit := 0; !c.stopped(); visit++ {
				if err := c.guest(h.addr, fmt.Sprintf("%d.%d", i, visit), &pushed); err != nil {
					c.broken.Add(1)
					c.note(err.Error())
				}
			}
		})
	}
	kills := 3
	if testing.Short() {
		kills = 1
	}
	talk := func() {
		t.Helper()
		answers, heard := c.answers.Load(), pushed.Load()
		require.Eventually(t, func() bool { return c.answers.Load()-answers > 3*guests && pushed.Load()-heard > 3000 },
			expect.Limit, time.Millisecond)
	}
	for range kills {
		talk()
		require.NoError(t, syscall.Kill(w.pid, syscall.SIGKILL))
		w.wait()
		w = start()
		talk()
	}
	report := c.ends()
	s := h.k.Stats()
	t.Log(report, "; ", pushed.Load(), " pushes; front: ", s)
	require.Zero(t, c.wrong.Load(), report)
	// those whose line was read, and whose process had no turn since: the busier the machine, the more
	require.LessOrEqual(t, s.Reset, uint64(kills*guests/5))
}

// guest talks, and looks at what comes: each of its lines has one answer, and what another says
// comes in its order, and once, or twice if that other's line was read again.
func (c *crowd) guest(addr, name string, pushed *atomic.Int64) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "%s\n", name); err != nil {
		return err
	}
	r := bufio.NewReader(conn)
	last := map[string]int{}
	for want, n := name, 0; ; {
		_ = conn.SetReadDeadline(time.Now().Add(expect.Limit))
		text, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		who, line, isPush := strings.Cut(strings.TrimSuffix(text, "\n"), ": ")
		number, _ := strconv.Atoi(line)
		switch {
		case isPush && number >= last[who]:
			last[who] = number
			pushed.Add(1)
			continue
		case text == "ok "+want+"\n":
			c.answers.Add(1)
		default:
			c.wrong.Add(1)
			c.note(fmt.Sprintf("%s got %q, want an answer to %q", name, text, want))
			return errors.New("wrong")
		}
		select {
		case <-c.stop:
			return nil
		case <-time.After(think/2 + rand.N(think)): // or all speak at once
		}
		n++
		want = strconv.Itoa(n)
		if _, err := fmt.Fprintf(conn, "%s\n", want); err != nil {
			return err
		}
	}
}
