package metrics

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func labels(p *Peers[int]) []string { return slices.Sorted(maps.Keys(maps.Collect(p.All()))) }

// A peer's record stays while the peer is there, and for a time after that.
func TestPeersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Peers[int]{Most: 10, Keep: time.Minute}
		require.Empty(t, labels(p))
		a, b := &Conn{Peer: "a@h"}, &Conn{Peer: "b@h"}
		*p.OfConn(a)++ // somebody who sends at once is heard before ConnUp
		*p.Up(a)++
		*p.Up(a)++ // a second one takes the place of the first
		*p.Up(b)++
		_, own := p.Of("")
		*own = 7
		time.Sleep(time.Hour)
		require.Equal(t, map[string]int{"a@h": 3, "b@h": 1, "": 7}, values(p))
		*p.Down(b) += 10
		*p.Down(a)++
		time.Sleep(time.Minute)
		require.Equal(t, map[string]int{"a@h": 4, "b@h": 11, "": 7}, values(p))
		time.Sleep(time.Second)
		require.Equal(t, map[string]int{"a@h": 4, "": 7}, values(p))
		*p.Up(b)++
		require.Equal(t, map[string]int{"a@h": 4, "b@h": 1, "": 7}, values(p), "it begins anew")
		p.Down(b)
		time.Sleep(59 * time.Second)
		label, _ := p.Of("b@h")
		require.Equal(t, "b@h", label)
		time.Sleep(59 * time.Second)
		require.Contains(t, labels(p), "b@h", "it was heard of")
		require.Equal(t, 4, *p.Down(a))
		odd := &Conn{Peer: "odd\x01@h"}
		p.Up(odd)
		label, _ = p.Of(odd.Peer)
		require.Equal(t, "odd\uFFFD@h", label)
		p.Down(odd)
		time.Sleep(time.Hour)
		require.NotContains(t, labels(p), label)
		require.NotPanics(t, func() { p.Down(&Conn{Peer: "never@h"}) })
	})
}

func values(p *Peers[int]) map[string]int {
	all := map[string]int{}
	for label, v := range p.All() {
		all[label] = *v
	}
	return all
}

// Nodes that are gone take no room: those that are there, and come, have their own records as far
// as they go.
func TestPeersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Peers[int]{Most: 3, Keep: time.Hour}
		for i := range 104 { // commands
			c := &Conn{Peer: fmt.Sprint("dynamic", i, "@h"), Temporary: true}
			*p.OfConn(c)++
			*p.Up(c)++
			label, _ := p.Of(c.Peer)
			require.Equal(t, temporary, label)
			p.Down(c)
		}
		require.Equal(t, map[string]int{temporary: 208}, values(p))
		for i := range 104 { // pods
			time.Sleep(time.Second)
			c := &Conn{Peer: fmt.Sprint("pod", i, "@h")}
			*p.Up(c)++
			p.Down(c)
		}
		require.Equal(t, []string{"pod101@h", "pod102@h", "pod103@h", temporary}, labels(p), "those that have gone last")
		var all []*Conn
		for i := range 5 {
			all = append(all, &Conn{Peer: fmt.Sprint("real", i, "@h")})
			*p.Up(all[i])++
		}
		require.Equal(t, map[string]int{"real0@h": 1, "real1@h": 1, "real2@h": 1, Other: 2, temporary: 208}, values(p))
		p.Down(all[0])
		label, _ := p.Of("real4@h")
		require.Equal(t, Other, label, "it stays where it is while it is there")
		p.Down(all[4])
		*p.Up(all[4])++
		require.Equal(t, map[string]int{"real1@h": 1, "real2@h": 1, "real4@h": 1, Other: 2, temporary: 208}, values(p))
	})
}
