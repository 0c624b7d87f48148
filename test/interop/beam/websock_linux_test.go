package beam

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/front"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// A counting is a client of testdata/counter.ex: its messages have to be answered one after the
// other, each once, with its number.
type counting struct {
	*websocket
	sent chan string // unanswered; so many at most that a busy machine catches up
	got  atomic.Int64
	all  int64
}

func count(t *testing.T, addr, path, more string) *counting {
	t.Helper()
	c := &counting{websocket: openWebsocket(t, addr, path, more), sent: make(chan string, 128)}
	_ = c.SetDeadline(time.Now().Add(2 * expect.Limit))
	require.Equal(t, "hello", c.text(t))
	return c
}

// says sends a text: as one frame, in fragments with pings between them, or in pieces.
func (c *counting) says(text string) error {
	c.sent <- text
	c.all++
	switch p := rand.IntN(10); {
	case p < 2 && !c.compressed && len(text) > 3:
		cut := 1 + rand.IntN(len(text)-2)
		for _, b := range [][]byte{wsFrame(wsText, []byte(text[:cut])), wsFrame(wsFin|wsPing, []byte("p")), wsFrame(wsFin, []byte(text[cut:]))} {
			if _, err := c.Write(b); err != nil {
				return err
			}
			time.Sleep(rand.N(3 * time.Millisecond))
		}
		return nil
	case p < 4 && !c.compressed:
		b := wsFrame(wsFin|wsText, []byte(text))
		cut := 1 + rand.IntN(len(b)-1)
		if _, err := c.Write(b[:cut]); err != nil {
			return err
		}
		time.Sleep(rand.N(3 * time.Millisecond))
		_, err := c.Write(b[cut:])
		return err
	}
	return c.write(wsText, []byte(text))
}

// hears checks answers until there are as many as messages that were said before the channel was
// closed.
func (c *counting) hears() error {
	n := int64(0)
	for text := range c.sent {
		n++
		for _, want := range []string{fmt.Sprintf("%d %d %d", n, len(text), crc32.ChecksumIEEE([]byte(text))), fmt.Sprintf("%d more", n)} {
			op, data, err := c.read()
			for err == nil && op == wsPong {
				op, data, err = c.read()
			}
			if err != nil {
				return fmt.Errorf("message %d: %w", n, err)
			}
			if string(data) != want {
				return fmt.Errorf("got %.60q, want %q", data, want)
			}
		}
		c.got.Add(1)
	}
	return nil
}

// A chorus are countings that talk until they are told to stop.
type chorus struct {
	h    *house
	all  []*counting
	stop chan struct{}
	ends chan error
}

func sing(t *testing.T, h *house, many int, more string) *chorus {
	t.Helper()
	s := &chorus{h: h, stop: make(chan struct{}), ends: make(chan error, 2*many)}
	for range many {
		c := count(t, h.addr, "/counter", more)
		s.all = append(s.all, c)
		go func() { s.ends <- c.hears() }()
		go func() {
			defer close(c.sent)
			for {
				select {
				case <-s.stop:
					s.ends <- nil
					return
				case <-time.After(rand.N(40 * time.Millisecond)):
				}
				size := 1 + rand.IntN(100)
				if rand.IntN(10) == 0 {
					size = rand.IntN(20_000)
				}
				if err := c.says(strings.Repeat("m", size)); err != nil {
					s.ends <- err
					return
				}
			}
		}()
	}
	return s
}

func (s *chorus) answers() (n int64) {
	for _, c := range s.all {
		n += c.got.Load()
	}
	return n
}

// works waits until all have got some more answers.
func (s *chorus) works(t *testing.T) {
	t.Helper()
	before := s.answers()
	require.Eventually(t, func() bool { return s.answers()-before > int64(5*len(s.all)) || len(s.ends) > 0 }, expect.Limit, time.Millisecond)
}

// rests ends them, each behind the answer to its last message.
func (s *chorus) rests(t *testing.T) {
	t.Helper()
	close(s.stop)
	for range 2 * len(s.all) {
		require.NoError(t, <-s.ends)
	}
	said := int64(0)
	for _, c := range s.all {
		said += c.all
		require.NoError(t, c.Close())
	}
	require.Equal(t, said, s.answers())
	s.h.until("all are over", func(st front.Stats) bool { return st.Sessions == 0 })
	t.Logf("%d messages, each answered once; front: %v", said, s.h.k.Stats())
	require.Zero(t, s.h.k.Stats().Reset)
}

var socketPeers = []string{"telemetry", "mime", "plug_crypto", "plug", "websock", "hpax", "thousand_island", "bandit", "websock_adapter",
	"phoenix_pubsub", "phoenix_template", "phoenix_html", "phoenix", "phoenix_live_view"}

// WebSockets go on in the next system, whatever ends the one before.
func TestSockets(t *testing.T) {
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		if e.Version == "1.14" {
			t.Skip("Phoenix 1.8 needs Elixir 1.15")
		}
		lib := buildProgram(t, e, "rooms.ex", socketPeers...)
		t.Run("WebSock", func(t *testing.T) { webSocks(t, e, lib) })
		t.Run("channels", func(t *testing.T) { channels(t, e, lib) })
		t.Run("phoenix.js", func(t *testing.T) { phoenixJS(t, e, lib) })
		t.Run("LiveView", func(t *testing.T) { liveViews(t, e, lib) })
		t.Run("crowds", func(t *testing.T) { crowds(t, e, lib) })
		t.Run("echoes", func(t *testing.T) { echoes(t, e, lib) })
		t.Run("presence", func(t *testing.T) { presence(t, e, lib) })
		t.Run("storms", func(t *testing.T) { storms(t, e, lib) })
	})
}

// Each message to a WebSock of one's own is answered once, with its number.
func webSocks(t *testing.T, e otp.Elixir, lib []string) {
	program, err := os.ReadFile("testdata/counter.ex")
	require.NoError(t, err)
	h := newFront(t)
	start := func() *worker {
		return serve(t, h, e.Program, append(lib, "-e", string(program), "-e", fmt.Sprintf(`Counter.run(%q)`, h.path))...)
	}
	w := start()
	ends := func(s syscall.Signal) {
		t.Helper()
		require.NoError(t, syscall.Kill(w.pid, s))
		w.wait()
	}
	many, times := 20, 2
	if !testing.Short() {
		many, times = 60, 12
	}
	for name, more := range map[string]string{"plain": "", "compressed": deflateOffer} {
		t.Run(name, func(t *testing.T) {
			s := sing(t, h, many, more)
			for k := range times {
				s.works(t)
				ends([]syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[k%2])
				w = start()
			}
			s.works(t)
			s.rests(t)
		})
	}
	t.Run("said while no system is there", func(t *testing.T) {
		c := count(t, h.addr, "/counter", "")
		ends(syscall.SIGKILL)
		for i := range 100 {
			require.NoError(t, c.says(fmt.Sprint("message ", i)))
		}
		close(c.sent)
		w = start()
		require.NoError(t, c.hears())
		require.NoError(t, c.Close())
	})
	t.Run("a large message that has begun", func(t *testing.T) {
		c := count(t, h.addr, "/counter", "")
		text := strings.Repeat("u", 900_000)
		b := wsFrame(wsFin|wsText, []byte(text))
		before := h.k.Stats().Points
		_, err := c.Write(b[:len(b)*9/10])
		require.NoError(t, err)
		c.sent <- text
		close(c.sent)
		h.until("some is taken", func(s front.Stats) bool { return s.Points > before })
		time.Sleep(300 * time.Millisecond)
		ends(syscall.SIGKILL)
		_, err = c.Write(b[len(b)*9/10:])
		require.NoError(t, err)
		w = start()
		require.NoError(t, c.hears())
		require.NoError(t, c.Close())
	})
	t.Run("answers that nobody reads yet", func(t *testing.T) {
		const size, messages = 600_000, 30 // more than the kernel keeps
		c := count(t, h.addr, "/counter", "")
		for range messages {
			require.NoError(t, c.write(wsBinary, binary.BigEndian.AppendUint32(nil, size)))
		}
		for k := range 2 {
			time.Sleep(300 * time.Millisecond)
			ends([]syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[k])
			w = start()
		}
		for i := range messages {
			op, data, err := c.read()
			require.NoError(t, err, i)
			require.EqualValues(t, wsBinary, op)
			require.Len(t, data, 4+size)
			require.EqualValues(t, i+1, binary.BigEndian.Uint32(data))
		}
		require.NoError(t, c.Close())
	})
	t.Run("an expired token", func(t *testing.T) {
		at := time.Now().Add(time.Second).Unix() + 1
		c := count(t, h.addr, fmt.Sprint("/counter?", at), "")
		late := count(t, h.addr, fmt.Sprint("/counter?", at+1000), "")
		time.Sleep(time.Until(time.Unix(at, 0)))
		ends(syscall.SIGKILL)
		w = start()
		require.Equal(t, 1008, c.closes(t))
		require.NoError(t, late.says("in time"))
		close(late.sent)
		require.NoError(t, late.hears())
	})
	t.Run("a WebSock that cannot move", func(t *testing.T) {
		c := openWebsocket(t, h.addr, "/plain", "")
		require.Equal(t, "hello", c.text(t))
		require.NoError(t, c.write(wsText, []byte("x")))
		require.Equal(t, "1", c.text(t))
		ends(syscall.SIGKILL)
		_, _, err := c.read()
		require.ErrorIs(t, err, syscall.ECONNRESET)
		w = start()
	})
	t.Run("TLS, and another front", func(t *testing.T) {
		config := testTLS(t)
		addr := h.listens("tcp", "127.0.0.1:0", &front.ServeOptions{TLS: config})
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		require.NoError(t, err)
		overTLS, err := upgradeWebsocket(conn, "/counter", "")
		require.NoError(t, err)
		defer overTLS.Close()
		proxied, err := net.Dial("tcp", h.listens("tcp", "127.0.0.1:0", &front.ServeOptions{Proxy: true}))
		require.NoError(t, err)
		_, err = proxied.Write([]byte("PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\n"))
		require.NoError(t, err)
		behindProxy, err := upgradeWebsocket(proxied, "/counter", "")
		require.NoError(t, err)
		defer behindProxy.Close()
		both := []*counting{{websocket: overTLS}, {websocket: behindProxy}, count(t, h.addr, "/counter", "")}
		for _, c := range both[:2] {
			require.Equal(t, "hello", c.text(t))
		}
		ask := func(n int) {
			t.Helper()
			for _, c := range both {
				_ = c.SetDeadline(time.Now().Add(expect.Limit))
				require.NoError(t, c.write(wsText, []byte("x")))
				require.Equal(t, fmt.Sprintf("%d 1 %d", n, crc32.ChecksumIEEE([]byte("x"))), c.text(t))
				require.Equal(t, fmt.Sprintf("%d more", n), c.text(t))
			}
		}
		ask(1)
		ends(syscall.SIGKILL)
		w = start()
		ask(2)
		old, _ := h.moves(t)
		defer old.Close()
		ask(3)
		ends(syscall.SIGKILL)
		w = start()
		ask(4)
	})
}
