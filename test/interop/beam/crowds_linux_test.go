package beam

import (
	"crypto/tls"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/front"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/sockdir"
)

// crowds logs how soon clients are joined again when a BEAM is killed while the next one runs:
//
//	go test -count=1 -v -run 'TestSockets/elixir1.18/crowds' ./test/interop/beam
func crowds(t *testing.T, e otp.Elixir, lib []string) {
	need.Long(t, 2*time.Minute)
	h := newFront(t)
	config := testTLS(t)
	addr := h.listens("tcp", "127.0.0.1:0", &front.ServeOptions{TLS: config})
	overTLS := func(_, path string) (*websocket, error) {
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return nil, err
		}
		_ = conn.SetDeadline(time.Now().Add(2 * expect.Limit))
		return upgradeWebsocket(conn, path, "")
	}
	start := h.rooms(e, lib)
	for _, c := range []struct {
		clients int
		path    string
		how     string
		every   time.Duration
		dial    func(addr, path string) (*websocket, error)
	}{
		{200, "/server", "TCP", 500 * time.Millisecond, dialPlain},
		{200, "/client", "TCP", 500 * time.Millisecond, dialPlain},
		{1000, "/server", "TLS", 2 * time.Second, overTLS},
		{1000, "/client", "TLS", 2 * time.Second, overTLS},
	} {
		t.Run(fmt.Sprintf("%d %s %s", c.clients, c.path, c.how), func(t *testing.T) {
			w := start()
			before := h.k.Stats()
			p := hold(t, c.clients, c.every, func() (*talker, error) { return talk(h.addr, c.path, 50*time.Millisecond, c.dial) })
			p.works(t)
			next := start()
			used, answered := seconds(t, next.pid), make([]time.Time, 0, c.clients)
			at := time.Now()
			p.asks(at)
			require.NoError(t, syscall.Kill(w.pid, syscall.SIGKILL))
			for _, c := range p.all {
				require.Eventually(t, func() bool { return !c.back().IsZero() }, 2*expect.Limit, time.Millisecond)
				answered = append(answered, c.back())
			}
			used = seconds(t, next.pid) - used
			p.works(t)
			p.end(t, at)
			s := h.k.Stats()
			require.Equal(t, before.Accepted+uint64(c.clients), s.Accepted, "none is opened anew")
			require.Equal(t, before.Reset, s.Reset)
			slowest, half := spread(answered, at)
			t.Logf("%d clients, %s, %s: answered again p50 %v, max %v; %.2f s of the next BEAM's processor", c.clients, c.path, c.how,
				half.Round(time.Millisecond), slowest.Round(time.Millisecond), used)
			used = seconds(t, next.pid)
			cold := hold(t, c.clients, c.every, func() (*talker, error) { return talk(h.addr, "/today", 0, c.dial) })
			t.Logf("%.2f s of it for as many clients that connect", seconds(t, next.pid)-used)
			cold.end(t, at)
			require.NoError(t, syscall.Kill(next.pid, syscall.SIGKILL))
			next.wait()
			h.until("nobody is there", func(s front.Stats) bool { return len(s.Workers) == 0 })
		})
	}
}

// echoes logs what a message to a WebSock costs, and what many idle ones take and how they outlive
// kills, of the BEAM and of a front that has a process of its own.
func echoes(t *testing.T, e otp.Elixir, lib []string) {
	need.Long(t, time.Minute)
	program, err := os.ReadFile("testdata/counter.ex")
	require.NoError(t, err)
	newHouse := func() (h *house, f *frontProcess) {
		path := filepath.Join(sockdir.New(t), "front")
		f = startFront(t, path)
		return &house{t: t, path: path, addr: f.addr, stats: f.stats}, f
	}
	start := func(h *house, how string) *worker {
		return serve(t, h, e.Program, append(lib, "-e", string(program), "-e", fmt.Sprintf(`Counter.run(%q, :%s)`, h.path, how))...)
	}
	const rounds = 5
	costs := map[string][]float64{}
	for range rounds {
		for _, how := range []string{"today", "kept"} {
			h, f := newHouse()
			w := start(h, how)
			beam, front := seconds(t, w.pid), seconds(t, f.pid)
			rate := during(t, 20, 3*time.Second, func() (do func() error, end func()) {
				c := count(t, h.addr, "/counter", "")
				_ = c.SetDeadline(time.Now().Add(expect.Limit))
				return func() error {
					err := c.write(wsText, []byte("an echo of 32 bytes, or nearly so"))
					for range 2 {
						if err == nil {
							_, _, err = c.read()
						}
					}
					return err
				}, func() { c.Close() }
			})
			beam, front = 1e6*(seconds(t, w.pid)-beam)/(3*rate), 1e6*(seconds(t, f.pid)-front)/(3*rate)
			costs[how] = append(costs[how], beam)
			t.Logf("%-5s: %6.0f messages/s, %.1f us of the BEAM's processor each, %.1f of the front's", how, rate, beam, front)
			require.NoError(t, syscall.Kill(w.pid, syscall.SIGKILL))
			w.wait()
			f.kill()
		}
	}
	for _, c := range costs {
		slices.Sort(c)
	}
	t.Logf("kept/today: %.2f", costs["kept"][rounds/2]/costs["today"][rounds/2])
	many := otp.Times("CNODE_TEST_BEAM_IDLE", 5000)
	need.Descriptors(t, uint64(many+200))
	h, f := newHouse()
	w := start(h, "kept")
	empty, alone := resident(t, w.pid), resident(t, f.pid)
	all := make([]*counting, 0, many)
	for range many {
		all = append(all, count(t, h.addr, "/counter", ""))
	}
	takes := func() string {
		return fmt.Sprintf("%.1f KiB each in the BEAM, %.1f in the front", float64(resident(t, w.pid)-empty)/float64(many),
			float64(resident(t, f.pid)-alone)/float64(many))
	}
	t.Logf("%d idle: %s", many, takes())
	for n := 1; n <= 3; n++ {
		at := time.Now()
		require.NoError(t, syscall.Kill(w.pid, syscall.SIGKILL))
		w.wait()
		w = start(h, "kept")
		for _, c := range all {
			_ = c.SetDeadline(time.Now().Add(2 * expect.Limit))
			require.NoError(t, c.write(wsText, []byte("x")))
		}
		for _, c := range all {
			require.Equal(t, fmt.Sprintf("%d 1 %d", n, crc32.ChecksumIEEE([]byte("x"))), c.text(t))
			require.Equal(t, fmt.Sprintf("%d more", n), c.text(t))
		}
		t.Logf("all have answered %v after kill %d: %s", time.Since(at).Round(time.Millisecond), n, takes())
	}
	require.Zero(t, h.stats().Reset)
}

// resident is how many KiB of memory a process has.
func resident(t *testing.T, pid int) (kib int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	_, err = fmt.Sscan(rest, &kib)
	require.NoError(t, err)
	return kib
}

// seconds of the processor that a process has used.
func seconds(t *testing.T, pid int) float64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return float64(user+system) / 100
}
