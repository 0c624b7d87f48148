package discovery

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
)

func TestHeartbeat(t *testing.T) {
	b, err := appendHeartbeat(nil, "a@b")
	require.NoError(t, err)
	require.Equal(t, "heartbeat::\x83t\x00\x00\x00\x01w\x04nodew\x03a@b", string(b))
	term := func(v any) string {
		b, err := ei.Marshal(v)
		require.NoError(t, err)
		return string(b)
	}
	plain := term(map[ei.Atom]any{"node": ei.Atom("a@b")})[1:]
	compressed := bytes.NewBuffer([]byte{ei.VersionMagic, byte(ei.TagCompressed), 0, 0, 0, byte(len(plain))})
	z := zlib.NewWriter(compressed)
	_, err = z.Write([]byte(plain))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	for datagram, want := range map[string]string{
		string(b): "a@b",
		"heartbeat::\x83t\x00\x00\x00\x01d\x00\x04noded\x00\x03a@b":                               "a@b", // as OTP 25 writes atoms
		"heartbeat::" + term(map[ei.Atom]any{"node": ei.Atom("ü@b"), "since": []float64{1.5, 2}}): "ü@b",
		"heartbeat::" + term(map[ei.Atom]any{"name": ei.Atom("a@b")}):                             "",
		"heartbeat::" + term(map[ei.Atom]any{"node": "a@b"}):                                      "",
		"heartbeat::" + term(map[ei.Atom]any{"node": ei.Atom("ab")}):                              "",
		"heartbeat::" + term(map[ei.Atom]any{"node": ei.Atom("a@b@c")}):                           "",
		"heartbeat::" + term(ei.Tuple{ei.Atom("node"), ei.Atom("a@b")}):                           "",
		"heartbeat::" + compressed.String():                                                       "",
		"heartbeat::\x83t\xff\xff\xff\xffw\x04nodew\x03a@b":                                       "",
		"heartbeat::":     "",
		"heartbeat::\x83": "",
		"heartbeat:" + string(b[len("heartbeat:"):]) + "x": "a@b", // what follows the term is not looked at
		"":                   "",
		string(b[1:]):        "",
		string(b[:len(b)-1]): "",
	} {
		got, ok := parseHeartbeat([]byte(datagram))
		require.Equal(t, want != "", ok, "%q", datagram)
		if ok {
			require.Equal(t, want, got)
		}
	}
}

// Made by OTP 27 for the node elixir@10.0.0.9 as libcluster does it:
// crypto:crypto_one_time(aes_256_cbc, crypto:hash(sha256, <<"somepassword">>), IV, Padded, true).
const sealedByOTP = "000102030405060708090A0B0C0D0E0F" +
	"0293FCF646D248542D82EEA283216C736EFE61548D0ED6D2009DD9E774ADBB92A180765A7A810BBCA556416263F78583"

func TestSealedByOTP(t *testing.T) {
	b, err := hex.DecodeString(sealedByOTP)
	require.NoError(t, err)
	text, ok := newSealer("somepassword").open(bytes.Clone(b))
	require.True(t, ok)
	node, ok := parseHeartbeat(text)
	require.True(t, ok)
	require.Equal(t, "elixir@10.0.0.9", node)
	for i := range b {
		cut, ok := newSealer("somepassword").open(bytes.Clone(b[:i]))
		if ok {
			_, ok = parseHeartbeat(cut)
		}
		require.False(t, ok)
	}
}

func TestSealer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringN(1, 20, 100).Draw(t, "secret")
		text := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "text")
		s := newSealer(secret)
		sealed := s.seal(text)
		require.Zero(t, len(sealed)%16)
		require.NotEqual(t, sealed, s.seal(text), "another time other bytes")
		if len(text) > 0 {
			require.False(t, bytes.Contains(sealed, text) && len(text) > 3)
		}
		got, ok := s.open(bytes.Clone(sealed))
		require.True(t, ok)
		require.Equal(t, string(text), string(got))
		if got, ok := newSealer(secret + "x").open(bytes.Clone(sealed)); ok {
			require.NotEqual(t, string(text), string(got))
		}
		cut := sealed[:rapid.IntRange(0, len(sealed)-1).Draw(t, "cut")]
		if got, ok := s.open(bytes.Clone(cut)); ok {
			require.Less(t, len(got), len(sealed))
		}
	})
	require.Nil(t, newSealer(""))
	var none *sealer
	got, ok := none.open(none.seal([]byte("x")))
	require.True(t, ok)
	require.Equal(t, "x", string(got))
}

func FuzzDatagram(f *testing.F) {
	b, _ := appendHeartbeat(nil, "a@b")
	f.Add(b)
	f.Add(newSealer("secret").seal(b))
	f.Fuzz(func(t *testing.T, b []byte) {
		if node, ok := parseHeartbeat(b); ok {
			require.Contains(t, node, "@")
		}
		if text, ok := newSealer("secret").open(bytes.Clone(b)); ok {
			_, _ = parseHeartbeat(text)
		}
	})
}

func TestRoll(t *testing.T) {
	now := time.Now()
	r := &roll{forget: 10 * time.Second, most: 100}
	require.False(t, r.tidy(now))
	require.True(t, r.add("a", now))
	require.False(t, r.add("a", now.Add(5*time.Second)))
	require.True(t, r.add("b", now.Add(6*time.Second)))
	require.False(t, r.tidy(now.Add(14*time.Second)))
	require.True(t, r.tidy(now.Add(15*time.Second)))
	require.Equal(t, []string{"b"}, r.list())
	require.True(t, r.tidy(now.Add(16*time.Second)))
	require.Empty(t, r.list())
	require.Zero(t, r.due)

	// a storm of names
	flood := func(from, many int) (taken int) {
		for i := range many {
			if r.add(fmt.Sprintf("x%d", from+i), now) {
				taken++
			}
		}
		return taken
	}
	now = now.Add(time.Minute)
	require.Equal(t, newAtOnce, flood(0, 1000))
	require.Equal(t, 0, flood(1000, 1000))
	require.False(t, r.add("x1", now), "a known one is no new one")
	now = now.Add(time.Second)
	require.Equal(t, newPerSecond, flood(2000, 1000))
	now = now.Add(4 * time.Second)
	require.Equal(t, 100-newAtOnce-newPerSecond, flood(3000, 1000), "there are no more than most")
	require.Len(t, r.at, 100)
	now = now.Add(6 * time.Second)
	require.True(t, r.tidy(now))
	require.Len(t, r.at, 100-newAtOnce-newPerSecond)
}

// loopback is Gossip on the loopback interface, with a port of its own.
func loopback(t *testing.T) Gossip {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	port := c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	require.NoError(t, c.Close())
	group := netip.AddrPortFrom(netip.MustParseAddr("233.252.1.32"), port)
	return Gossip{Interface: "127.0.0.1", Group: group, Interval: 20 * time.Millisecond}
}

// gossips runs a Source; the channel gets each list of names.
func gossips(ctx context.Context, t *testing.T, g Gossip, name string) <-chan []string {
	return gossipsOf(ctx, t, g, node(t, name))
}

func gossipsOf(ctx context.Context, t *testing.T, g Gossip, n *nodes.Node) <-chan []string {
	lists, over := make(chan []string, 100), make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer close(over)
		for names, err := range g.Nodes(ctx, n) {
			if err != nil {
				t.Errorf("%s: %v", n.Name(), err)
			}
			select {
			case lists <- names:
			default:
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-over })
	return lists
}

// requireNames waits for a list of names.
func requireNames(t *testing.T, lists <-chan []string, want ...string) {
	t.Helper()
	for {
		if got := expect.Returns(t, lists); strings.Join(got, " ") == strings.Join(want, " ") {
			return
		}
	}
}

func TestGossip(t *testing.T) {
	for _, secret := range []string{"", "somepassword"} {
		t.Run("secret="+secret, func(t *testing.T) {
			g := loopback(t)
			g.Secret = secret
			alien, quiet := g, g
			alien.Secret += "another one"
			quiet.ListenOnly = true
			x := gossips(t.Context(), t, alien, "x@127.0.0.1")
			y := gossips(t.Context(), t, quiet, "y@127.0.0.1")
			a := gossips(t.Context(), t, g, "a@127.0.0.1")
			b := gossips(t.Context(), t, g, "b@127.0.0.1")
			requireNames(t, y, "a@127.0.0.1", "b@127.0.0.1")
			requireNames(t, a, "b@127.0.0.1")
			requireNames(t, b, "a@127.0.0.1")
			for _, others := range []<-chan []string{a, b, x, y} {
				require.Empty(t, others)
			}
		})
	}
}

// Whatever comes in is survived, and the first datagram that is nothing is logged.
func TestGossipHostile(t *testing.T) {
	g := loopback(t)
	g.MaxNodes = 10
	g.ListenOnly = true
	var log bytes.Buffer
	n, err := nodes.New(nodes.Config{Name: "a@127.0.0.1", Cookie: "secret", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	defer n.Close()
	next := asked(t, g, n)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		c, err := net.Dial("udp4", fmt.Sprintf("127.0.0.1:%d", g.Group.Port()))
		if err != nil {
			return
		}
		defer c.Close()
		for i := 0; ctx.Err() == nil; i++ {
			for _, bad := range []string{"", "heartbeat::", strings.Repeat("x", 60000), "heartbeat::\x83t\xff\xff\xff\xff"} {
				_, _ = c.Write([]byte(bad))
			}
			for _, name := range []string{fmt.Sprintf("n%d@h", i), noNode} {
				b, _ := appendHeartbeat(nil, name)
				_, _ = c.Write(b)
			}
			time.Sleep(time.Millisecond)
		}
	}()
	var names []string
	for len(names) < 10 {
		names, err = next()
		require.NoError(t, err)
	}
	cancel()
	<-sent
	require.NotContains(t, names, noNode)
	require.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log.String())
}

// Nodes that fall silent are named no more.
func TestGossipForgets(t *testing.T) {
	g := loopback(t)
	g.Forget = 500 * time.Millisecond
	a := gossips(t.Context(), t, g, "a@127.0.0.1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	gossips(ctx, t, g, "b@127.0.0.1")
	requireNames(t, a, "b@127.0.0.1")
	cancel()
	requireNames(t, a)
}

// A node that drains says nothing any more, and still hears who else is there.
func TestGossipDrains(t *testing.T) {
	g := loopback(t)
	g.Forget = 500 * time.Millisecond
	n := node(t, "b@127.0.0.1")
	a := gossips(t.Context(), t, g, "a@127.0.0.1")
	b := gossipsOf(t.Context(), t, g, n)
	requireNames(t, a, "b@127.0.0.1")
	requireNames(t, b, "a@127.0.0.1")
	require.NoError(t, n.Drain(t.Context()))
	requireNames(t, a)
	gossips(t.Context(), t, g, "c@127.0.0.1")
	requireNames(t, a, "c@127.0.0.1")
	requireNames(t, b, "a@127.0.0.1", "c@127.0.0.1")
}

func TestGossipErrors(t *testing.T) {
	for name, g := range map[string]Gossip{
		"no multicast address": {Group: netip.MustParseAddrPort("10.0.0.1:45892")},
		"no port":              {Group: netip.MustParseAddrPort("233.252.1.32:0")},
		"IPv6":                 {Group: netip.MustParseAddrPort("[ff02::1]:45892")},
		"no interface":         {Interface: "nosuch0"},
		"no address":           {Interface: "192.0.2.77"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := asked(t, g, nil)()
			var failed *nodes.Error
			require.ErrorAs(t, err, &failed)
			require.Equal(t, g.group().String(), failed.Peer)
			t.Log(err)
		})
	}
}
