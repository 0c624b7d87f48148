package front

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What waits is limited in number and age.
func TestParked(t *testing.T) {
	h := newHouse(t, &Options{MaxParked: 2, MaxParkedAge: 50 * time.Millisecond}, nil)
	for range 3 {
		c := dial(t, h.addr)
		_, err := c.r.ReadByte()
		require.ErrorIs(t, err, io.EOF)
	}
	h.until("all are gone", func(s Stats) bool { return s.Expired+s.Refused == 3 && s.Sessions == 0 })
	l := newHouse(t, &Options{MaxParked: 2}, nil)
	for range 2 {
		dial(t, l.addr)
	}
	l.until("two wait", func(s Stats) bool { return s.Parked == 2 })
	_, err := dial(t, l.addr).r.ReadByte()
	require.ErrorIs(t, err, io.EOF)
	require.EqualValues(t, 1, l.k.Stats().Refused)
}

// Clients that have gone leave their places to those that come: with a FIN or a reset, after a
// request or without one, with TLS or without.
func TestParkedGone(t *testing.T) {
	for name, leave := range map[string]func(c *net.TCPConn){
		"FIN": func(c *net.TCPConn) { _ = c.Close() }, "reset": func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
	} {
		for _, request := range []string{"", "one\n"} {
			for _, o := range []*ServeOptions{nil, {TLS: serverTLS()}} {
				t.Run(fmt.Sprintf("%s after %q, TLS %v", name, request, o != nil), func(t *testing.T) {
					h := newHouse(t, &Options{MaxParked: 2}, o)
					connect := dial
					if o != nil {
						connect = dialTLS
					}
					for i := range 2 {
						c := connect(t, h.addr)
						_, err := io.WriteString(c, request)
						require.NoError(t, err)
						h.until("it waits", func(s Stats) bool { return s.Sessions == i+1 && s.Beginning == 0 })
						raw := c.Conn
						if tls, ok := raw.(*tls.Conn); ok {
							raw = tls.NetConn()
						}
						leave(raw.(*net.TCPConn))
					}
					h.until("both are there", func(s Stats) bool { return s.Accepted == 2 && s.Beginning == 0 })
					require.Eventually(t, func() bool { // once the FIN has come
						h.k.mu.Lock()
						defer h.k.mu.Unlock()
						return !slices.ContainsFunc(h.k.queue, func(s *session) bool { return !s.hasEnded() })
					}, patience, time.Millisecond)
					for range 2 {
						connect(t, h.addr)
					}
					h.until("the places are theirs", func(s Stats) bool { return s.Parked == 2 && s.Gone == 2 && s.Refused == 0 })
				})
			}
		}
	}
}
