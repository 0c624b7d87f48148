package nodes

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// Whichever side connects, a peer in Config.Cookies is met with its own cookie, other peers with
// Config.Cookie.
func TestCookies(t *testing.T) {
	with := func(cookie string, others map[string]string) func(*Config) {
		return func(cfg *Config) { cfg.Cookie, cfg.Cookies = cookie, others }
	}
	w := newWorld(t, "memory")
	given := map[string]string{"bob@test": "for two"}
	alice := w.started("alice", with("secret", given))
	bob := w.started("bob", with("bob's", map[string]string{"alice@test": "for two"}))
	carol := w.started("carol", with("secret", nil))
	given["carol@test"] = "too late" // it was copied

	for _, to := range []*Node{bob, carol} {
		for _, side := range [][2]*Node{{alice, to}, {to, alice}} {
			require.NoError(t, w.meet(side[0], side[1]), "%s to %s", side[0].Name(), side[1].Name())
		}
	}
	// the peer's name is not known beforehand
	require.Equal(t, "bob@test", of(alice.ConnectAddr(w.ctx(), bob.Listeners()[0].Addr(), "")).must(t).Name())
	_, err := carol.Connect(w.ctx(), "bob@test")
	require.ErrorContains(t, err, "wrong cookie")
	require.ErrorIs(t, err, dist.ErrNoProof)
	_, err = bob.Connect(w.ctx(), "carol@test")
	require.ErrorContains(t, err, "wrong cookie")
}

// meet connects two nodes, and parts them again.
func (w *world) meet(a, b *Node) error {
	w.t.Helper()
	c, err := a.Connect(w.ctx(), b.Name())
	if err != nil {
		return err
	}
	other := w.conn(b, a.Name()) // which may not have put it on its table yet
	require.NoError(w.t, c.Close())
	ended(w.t, other)
	arrives(w.t, other.l.Left(), "the end")
	return nil
}

// A cookie that is changed is valid from the next handshake on.
func TestSetCookie(t *testing.T) {
	w := newWorld(t, "memory")
	alice, bob := w.started("alice"), w.started("bob")
	both := func(ok bool) {
		t.Helper()
		for _, err := range []error{w.meet(alice, bob), w.meet(bob, alice)} {
			if ok {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "wrong cookie")
			}
		}
	}
	both(true)
	require.NoError(t, alice.SetCookie("bob@test", "for two"))
	both(false)
	require.NoError(t, bob.SetCookie("", "for two"))
	both(true)
	require.NoError(t, alice.SetCookie("bob@test", ""))
	both(false)
	require.NoError(t, alice.SetCookie("alice@test", "for two"))
	both(true)
	for peer, cookie := range map[string]string{"": "", "alice@test": "x\n", "bob@test": "x\n", "bob": "x"} {
		require.Error(t, alice.SetCookie(peer, cookie), "%s %q", peer, cookie)
	}
	require.ErrorIs(t, alice.SetCookie("bob", ""), dist.ErrInvalidName)
	both(true)
}

func TestNewRefusesBadCookies(t *testing.T) {
	_, err := New(Config{Name: "a@test", Cookie: "c", Cookies: map[string]string{"b@test": ""}})
	require.ErrorContains(t, err, "Config.Cookies: that of b@test is empty")
	_, err = New(Config{Name: "a@test", Cookie: "c", Cookies: map[string]string{"b@test": "d\n"}})
	require.ErrorContains(t, err, "Config.Cookies: that of b@test has a line break")
	_, err = New(Config{Name: "a@test", Cookie: "c\r\n"})
	require.ErrorContains(t, err, "Config.Cookie has a line break")
	_, err = New(Config{Name: "a@test", Cookie: "c", Cookies: map[string]string{"b": "c"}})
	require.ErrorIs(t, err, dist.ErrInvalidName)
}

// A cookie that Erlang most likely has in other bytes causes a warning.
func TestCookieThatErlangHasNot(t *testing.T) {
	log := new(record)
	n := of(New(Config{Name: "a@test", Cookie: "s\u00e9cret", Logger: slog.New(slog.NewTextHandler(log, nil))})).must(t)
	require.Len(t, log.Lines("level=WARN", "Latin-1"), 1)
	require.NoError(t, n.SetCookie("", strings.Repeat("x", ei.MaxAtomChars+1)))
	require.Len(t, log.Lines("level=WARN", "than an atom"), 1)
}
