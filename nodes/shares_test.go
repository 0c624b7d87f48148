package nodes

import (
	"testing"

	"pgregory.net/rapid"
)

// However places are taken, waited for and given back: there are never more than there are, nobody waits who may have one, who gives up
// has none, and a peer without one that comes while any is free gets it.
func TestShares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 9).Draw(t, "most")
		var s shares
		s.init(most)
		conns := []string{"", "a", "b", "c"}
		held := map[string]int{}
		type waits struct {
			c    string
			gone chan struct{}
			got  <-chan result[bool]
		}
		var waiting []waits
		granted := func() {
			for i := 0; i < len(waiting); {
				s.mu.Lock()
				still := false
				for _, k := range s.waiting {
					still = still || k.peer == waiting[i].c
				}
				s.mu.Unlock()
				if still {
					i++
					continue
				}
				if !(<-waiting[i].got).v {
					t.Fatal("refused")
				}
				held[waiting[i].c]++
				waiting = append(waiting[:i:i], waiting[i+1:]...)
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			c := rapid.SampledFrom(conns).Draw(t, "conn")
			total := 0
			for _, n := range held {
				total += n
			}
			switch op := rapid.SampledFrom([]string{"take", "take", "put", "leave"}).Draw(t, "op"); {
			case op == "take":
				at := -1
				for i, w := range waiting {
					if w.c == c {
						at = i
					}
				}
				if at >= 0 { // one at a time, as a reader does
					continue
				}
				w := waits{c: c, gone: make(chan struct{})}
				if held[c] < most-total {
					if !s.take(c, nil, nil) {
						t.Fatal("refused")
					}
					held[c]++
					continue
				}
				got := make(chan result[bool], 1)
				go func() { got <- result[bool]{v: s.take(c, w.gone, nil)} }()
				w.got = got
				waiting = append(waiting, w)
				for known := false; !known; { // it is in the queue
					s.mu.Lock()
					known = len(s.waiting) == len(waiting)
					s.mu.Unlock()
				}
			case op == "put" && held[c] > 0:
				held[c]--
				s.put(c)
				granted()
			case op == "leave" && len(waiting) > 0:
				close(waiting[0].gone)
				if (<-waiting[0].got).v {
					t.Fatal("a place for who has left")
				}
				waiting = waiting[1:]
			}
			total = 0
			for _, n := range held {
				total += n
			}
			if total > most || s.free != most-total {
				t.Fatalf("%d held, %d free of %d", total, s.free, most)
			}
			for _, w := range waiting {
				if held[w.c] < s.free {
					t.Fatal("somebody waits who may have a place")
				}
			}
		}
		for _, w := range waiting {
			close(w.gone)
			<-w.got
		}
	})
}
